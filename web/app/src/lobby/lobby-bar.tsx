// For a host, until the room is started: who waits, and the start.
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'

export function LobbyBar({ session }: { session: RoomSession }) {
  if (!session.isHost.value || session.state.value.room?.lobby !== true) return null
  const names = session.lobby.people.value.map((p) => p.name)
  return (
    <section class="lobby-bar" aria-label={t.lobby.title} data-testid="lobby-bar">
      <p>
        <b>{t.lobby.prepare}</b> <span data-testid="lobby-people" title={names.join(', ')}>{names.length === 0 ? t.lobby.nobody : t.lobby.who(names)}</span>
      </p>
      <button type="button" class="primary small" data-testid="start-room" onClick={() => session.updateRoom({ lobby: false })}>{t.lobby.start}</button>
    </section>
  )
}
