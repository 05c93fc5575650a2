// Keys that work everywhere in a room.
import { useEffect } from 'preact/hooks'
import type { RoomSession } from './session.ts'

/** Panes in the order in which F6 visits them, and what takes the focus there. */
const panes = [
  ['code', '.editor-pane', '.cm-content'],
  ['output', '.run-pane', '.xterm-helper-textarea'],
  ['room', '.sidebar', ':is(button, input)'],
  ['panel', '.dock', ':is([data-first], button)'],
] as const

export function useRoomKeys(session: RoomSession, show: (pane: 'code' | 'output' | 'room') => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const mod = event.ctrlKey || event.metaKey
      if (mod && event.key === 'Enter') session.start()
      else if (mod && event.key === '.') session.stop()
      else if (event.key === 'F6') visit(event.shiftKey ? -1 : 1, show)
      else return
      event.preventDefault()
      event.stopPropagation()
    }
    // Before the editor and the terminal, which would take some of these.
    addEventListener('keydown', onKey, { capture: true })
    return () => removeEventListener('keydown', onKey, { capture: true })
  }, [session])
}

function visit(step: 1 | -1, show: (pane: 'code' | 'output' | 'room') => void): void {
  const there = panes.filter(([name, pane]) => name !== 'panel' || document.querySelector(pane) !== null)
  const at = there.findIndex(([, pane]) => document.activeElement?.closest(pane) != null)
  const next = there[(at + step + there.length) % there.length] ?? panes[0]
  if (next[0] !== 'panel') show(next[0])
  // On a narrow screen the pane shows only after the next render.
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`${next[1]} ${next[2]}`)?.focus())
}
