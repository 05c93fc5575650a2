// The bar at the foot of a room: what is set in it, in words, and the buttons of
// the panels. It has one height, so that nothing moves when a setting changes.
import { t } from '../strings.ts'
import { ChatIcon, NotesIcon, TestsIcon } from '../ui/room-icons.tsx'
import type { Panel } from './dock.tsx'
import type { RoomSession } from './session.ts'

export function StatusBar({ session }: { session: RoomSession }) {
  const words = settingsInWords(session)
  const unread = session.chat.unread.value
  return (
    <footer class="status-bar">
      <ul class="room-states" aria-label={t.host.states} data-testid="room-states">
        {words.map((word) => <li key={word}>{word}</li>)}
      </ul>
      <PanelButton session={session} panel="chat" note={unread === 0 ? '' : t.chat.unread(unread)} badge={unread}><ChatIcon /></PanelButton>
      <PanelButton session={session} panel="tests"><TestsIcon /></PanelButton>
      {session.isHost.value && <PanelButton session={session} panel="notes"><NotesIcon /></PanelButton>}
    </footer>
  )
}

function settingsInWords(session: RoomSession): string[] {
  const { room } = session.state.value
  if (room === null) return []
  return [
    ...(room.lobby === true ? [t.lobby.on] : []),
    ...(room.locked ? [t.host.isLocked] : room.driver_only ? [t.host.isDriverOnly] : []),
    ...(room.runs_enabled ? [] : [t.host.runsAreOff]),
  ]
}

interface PanelButtonProps {
  session: RoomSession
  panel: Panel
  /** What there is to know of it, in words. */
  note?: string
  badge?: number
  children: preact.ComponentChildren
}

function PanelButton({ session, panel, note = '', badge = 0, children }: PanelButtonProps) {
  const open = session.panel.value === panel
  const label = note === '' ? t.dock[panel] : `${t.dock[panel]}, ${note}`
  return (
    <button
      type="button" class="quiet small panel-button" aria-label={label} title={`${label} (${t.dock.keys[panel]})`} aria-expanded={open} aria-controls="dock"
      data-testid={`open-${panel}`} onClick={() => { session.panel.value = open ? null : panel }}
    >
      {children}<span class="panel-word">{t.dock[panel]}</span>
      {badge > 0 && <span class="badge" aria-hidden="true">{badge > 99 ? '99+' : badge}</span>}
    </button>
  )
}
