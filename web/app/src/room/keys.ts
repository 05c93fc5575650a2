// Keys that work everywhere in a room.
import { useEffect } from 'preact/hooks'
import { settings } from '../editor/settings.ts'
import type { RoomSession } from './session.ts'

/** Panes in the order in which F6 visits them, and what takes the focus there. */
const panes = [
  ['code', '.editor-pane', '.cm-content'],
  ['output', '.run-pane', null], // the terminal, which may not be there yet
  ['room', '.sidebar', ':is(button, input, [role=treeitem][tabindex="0"])'],
  ['panel', '.dock', ':is([data-first], button)'],
] as const

export function useRoomKeys(session: RoomSession, show: (pane: 'code' | 'output' | 'room') => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const mod = event.ctrlKey || event.metaKey
      if (mod && event.key === 'Enter') session.start()
      else if (mod && event.key === '.') session.stop()
      else if (mod && !event.shiftKey && !event.altKey && event.key === 'p' && !keysTaken(event)) session.quickOpen.value = !session.quickOpen.value
      else if (event.altKey && !mod && event.code === 'KeyW' && !keysTaken(event)) session.tabs.close(session.shown.value?.id ?? '')
      else if (event.key === 'F6') visit(session, event.shiftKey ? -1 : 1, show)
      else return
      event.preventDefault()
      event.stopPropagation()
    }
    // Before the editor and the terminal, which would take some of these.
    addEventListener('keydown', onKey, { capture: true })
    return () => removeEventListener('keydown', onKey, { capture: true })
  }, [session])
}

/** Vim and Emacs have a use of their own for Ctrl and Alt keys in the editor; none for Cmd. So has a program in the terminal. */
const keysTaken = (event: KeyboardEvent): boolean =>
  !event.metaKey && event.target instanceof Element &&
  (event.target.closest('.terminal') !== null || (settings.value.keyMap !== 'default' && event.target.closest('.cm-editor') !== null))

function visit(session: RoomSession, step: 1 | -1, show: (pane: 'code' | 'output' | 'room') => void): void {
  const there = panes.filter(([name, pane]) => name !== 'panel' || document.querySelector(pane) !== null)
  const at = there.findIndex(([, pane]) => document.activeElement?.closest(pane) != null)
  const next = there[(at + step + there.length) % there.length] ?? panes[0]
  if (next[0] !== 'panel') show(next[0])
  // On a narrow screen the pane shows only after the next render.
  requestAnimationFrame(() => {
    if (next[2] === null) session.terminal.focus()
    else document.querySelector<HTMLElement>(`${next[1]} ${next[2]}`)?.focus()
  })
}
