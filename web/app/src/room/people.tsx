import { useState } from 'preact/hooks'
import type { Participant } from '../live/messages.ts'
import { seatChoices } from '../live/state.ts'
import { t } from '../strings.ts'
import { KeyboardIcon, MoreIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'
import { ask } from '../ui/question.tsx'
import { FollowButton } from './follow-bar.tsx'
import type { RoomSession } from './session.ts'

const initials = (name: string): string =>
  name.split(/\s+/).filter(Boolean).slice(0, 2).map((word) => [...word][0]?.toUpperCase() ?? '').join('')

export function Avatar({ person, driving = false }: { person: Participant; driving?: boolean }) {
  return (
    <span class={driving ? 'avatar driving' : 'avatar'} style={{ '--hue': String(person.hue) }} title={person.name} aria-hidden="true">
      {initials(person.name)}
    </span>
  )
}

export function People({ session }: { session: RoomSession }) {
  const { participants, you } = session.state.value
  // This person first, then in the order in which they came.
  const sorted = [...participants].sort((a, b) => Number(b.id === you?.id) - Number(a.id === you?.id))
  return (
    <section class="people" aria-labelledby="people-heading">
      <h2 id="people-heading">{t.people} <small>{participants.length}</small></h2>
      {!session.me.value.chosen && <NameForm session={session} />}
      <ul data-testid="participants">
        {sorted.map((person) => <Person key={person.id} session={session} person={person} />)}
      </ul>
    </section>
  )
}

function Person({ session, person }: { session: RoomSession; person: Participant }) {
  const { you, driver, requests } = session.state.value
  const [naming, setNaming] = useState(false)
  const mine = person.id === you?.id
  if (mine && naming) return <li><NameForm session={session} onDone={() => setNaming(false)} /></li>
  const note = person.id === driver ? t.driving : requests.includes(person.id) ? t.asking : t.roles[person.role]
  return (
    <li class="person" data-testid="participant" data-role={person.role} data-driver={person.id === driver}>
      {mine ? <Avatar person={person} driving={person.id === driver} /> : <FollowButton session={session} person={person} driving={person.id === driver} />}
      <span class="person-words">
        {mine
          ? <button type="button" class="person-name text" onClick={() => setNaming(true)} title={t.yourName}>{person.name} <small>({t.you})</small></button>
          : <span class="person-name">{person.name}</span>}
        <small class={person.id === driver ? 'person-note driving' : 'person-note'}>{person.id === driver && <KeyboardIcon />}{note}</small>
      </span>
      {!mine && <PersonActions session={session} person={person} />}
    </li>
  )
}

function PersonActions({ session, person }: { session: RoomSession; person: Participant }) {
  const state = session.state.value
  const give = seatChoices(state).give && person.role !== 'viewer' && person.id !== state.driver
  const remove = state.you?.role === 'host'
  if (!give && !remove) return null
  return (
    <Popover label={`${person.name}…`} class="quiet square person-menu" testid="person-menu" face={<MoreIcon />}>
      {(close) => (
        <div class="menu">
          {give && (
            <button type="button" data-testid="driver-give" onClick={() => { session.giveSeat(person.id); close() }}>
              {t.driverGive}
            </button>
          )}
          {remove && (
            <button type="button" class="danger" data-testid="remove" onClick={() => { close(); void removePerson(session, person) }}>
              {t.remove}
            </button>
          )}
        </div>
      )}
    </Popover>
  )
}

export async function removePerson(session: RoomSession, person: Participant): Promise<void> {
  if (await ask(t.removeConfirm(person.name), t.remove)) session.removePerson(person)
}

/** Asks for the name without standing in the way: the suggestion works. */
function NameForm({ session, onDone }: { session: RoomSession; onDone?: () => void }) {
  const [name, setName] = useState(session.me.value.name)
  const submit = (event: Event): void => {
    event.preventDefault()
    session.rename(name)
    onDone?.()
  }
  return (
    <form class="name-form" onSubmit={submit}>
      <label>
        <span>{t.yourName}</span>
        <input
          data-testid="name-input" maxLength={64} autocomplete="nickname" value={name} autofocus={onDone !== undefined}
          onFocus={(e) => e.currentTarget.select()} onInput={(e) => setName(e.currentTarget.value)}
          onKeyDown={(e) => { if (e.key === 'Escape') onDone?.() }}
        />
      </label>
      <button class="secondary" data-testid="name-save">{t.ok}</button>
    </form>
  )
}
