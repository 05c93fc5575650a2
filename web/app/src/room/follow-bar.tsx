import { useEffect } from 'preact/hooks'
import type { Participant } from '../live/messages.ts'
import { t } from '../strings.ts'
import { Avatar } from './people.tsx'
import type { RoomSession } from './session.ts'

/** An avatar that follows its person, or stops following. */
export function FollowButton({ session, person, driving }: { session: RoomSession; person: Participant; driving: boolean }) {
  const following = session.follow.who.value === person.id
  const label = following ? t.follow.stopFollowing(person.name) : t.follow.start(person.name)
  return (
    <button
      type="button" class="face" aria-pressed={following} aria-label={label} title={label} data-testid="follow" data-person={person.name}
      onClick={() => { if (following) session.follow.stop(); else session.follow.start(person.id) }}
    >
      <Avatar person={person} driving={driving} />
    </button>
  )
}

/** Says who is followed, over the editor, so that nothing moves. */
export function FollowBar({ session }: { session: RoomSession }) {
  const id = session.follow.who.value
  const person = session.state.value.participants.find((p) => p.id === id)
  useEffect(() => {
    if (id === null) return
    const own = (event: Event): void => {
      const inEditor = event.target instanceof Element && event.target.closest('.editor-place') !== null
      const escape = event instanceof KeyboardEvent && event.key === 'Escape'
      // A key that only goes with another one is no movement.
      const bare = event instanceof KeyboardEvent && ['Control', 'Shift', 'Alt', 'Meta', 'F6'].includes(event.key)
      if (escape || (inEditor && !bare)) session.follow.stop()
    }
    for (const kind of ['keydown', 'pointerdown', 'wheel'] as const) addEventListener(kind, own, { capture: true, passive: true })
    return () => { for (const kind of ['keydown', 'pointerdown', 'wheel'] as const) removeEventListener(kind, own, { capture: true }) }
  }, [session, id])
  return (
    <div class="follow-place" role="status">
      {person !== undefined && (
        <div class="follow-bar" data-testid="following" style={{ '--hue': String(person.hue) }}>
          <span>{t.follow.following(person.name)}</span>
          <button type="button" class="secondary small" onClick={() => session.follow.stop()}>{t.follow.stop}</button>
        </div>
      )}
    </div>
  )
}
