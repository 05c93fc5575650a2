// For a host, until the room is started: who waits, whom to turn away, and the start.
import { removePerson } from '../room/people.tsx'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { ChevronIcon, CloseIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'

export function LobbyBar({ session }: { session: RoomSession }) {
  if (!session.isHost.value || session.state.value.room?.lobby !== true) return null
  const people = session.lobby.people.value
  const names = people.map((p) => p.name)
  return (
    <section class="lobby-bar" aria-label={t.lobby.title} data-testid="lobby-bar">
      <p>
        <b>{t.lobby.prepare}</b> <span data-testid="lobby-people" title={names.join(', ')}>{names.length === 0 ? t.lobby.nobody : t.lobby.who(names)}</span>
      </p>
      {people.length > 0 && (
        <Popover label={t.lobby.people} class="secondary square" testid="lobby-menu" face={<ChevronIcon />}>
          {(close) => (
            <ul class="menu" aria-label={t.lobby.people}>
              {people.map((person) => (
                <li key={person.id}>
                  <button type="button" class="danger" data-testid="lobby-remove" onClick={() => { close(); void removePerson(session, person) }}><CloseIcon />{t.lobby.refuse(person.name)}</button>
                </li>
              ))}
            </ul>
          )}
        </Popover>
      )}
      <button type="button" class="primary small" data-testid="start-room" onClick={() => session.updateRoom({ lobby: false })}>{t.lobby.start}</button>
    </section>
  )
}
