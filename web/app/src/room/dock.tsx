// The panel beside the panes: chat, tests, or a host's notes, one at a time. The
// bar below opens and closes it, and it stays open until that is done.
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { FunctionComponent } from 'preact'
import { t } from '../strings.ts'
import { CloseIcon } from '../ui/room-icons.tsx'
import type { RoomSession } from './session.ts'

export type Panel = 'chat' | 'tests' | 'notes'

interface PanelProps {
  session: RoomSession
}

const panels: Record<Panel, FunctionComponent<PanelProps>> = {
  chat: later(async () => (await import('../chat/chat-panel.tsx')).ChatPanel),
  tests: later(async () => (await import('../tests/tests-panel.tsx')).TestsPanel),
  notes: later(async () => (await import('../notes/notes-panel.tsx')).NotesPanel),
}

const keys: Partial<Record<string, Panel>> = { KeyC: 'chat', KeyT: 'tests', KeyN: 'notes' }

export function Dock({ session }: PanelProps) {
  const panel = session.panel.value
  useDockKeys(session)
  const root = useRef<HTMLElement>(null)
  useEffect(() => {
    if (panel !== null) root.current?.querySelector<HTMLElement>('[data-first]')?.focus()
  }, [panel])
  if (panel === null) return null
  const Body = panels[panel]
  return (
    <aside
      class="dock" id="dock" ref={root} aria-label={t.dock[panel]} data-testid={`${panel}-panel`}
      onKeyDown={(e) => { if (e.key === 'Escape' && !e.defaultPrevented) leave(session) }}
    >
      <div class="pane-head">
        <h2>{t.dock[panel]}</h2>
        <button type="button" class="quiet square dock-close" aria-label={t.dock.close} title={t.dock.close} data-testid="dock-close" onClick={() => close(session)}>
          <CloseIcon />
        </button>
      </div>
      <Body session={session} />
    </aside>
  )
}

function leave(session: RoomSession): void {
  session.uncover()
  session.navigation.focus()
}

function close(session: RoomSession): void {
  session.panel.value = null
  session.navigation.focus()
}

function useDockKeys(session: RoomSession): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const panel = event.altKey && event.shiftKey && !event.ctrlKey && !event.metaKey ? keys[event.code] : undefined
      if (panel === undefined || (panel === 'notes' && !session.isHost.value)) return
      event.preventDefault()
      event.stopPropagation()
      if (session.panel.value === panel) close(session)
      else session.panel.value = panel
    }
    // Before the editor and the terminal, which would take some of these.
    addEventListener('keydown', onKey, { capture: true })
    return () => removeEventListener('keydown', onKey, { capture: true })
  }, [session])
}

/** A panel whose code comes when it is first opened. */
function later(load: () => Promise<FunctionComponent<PanelProps>>): FunctionComponent<PanelProps> {
  return function Later(props: PanelProps): ComponentChildren {
    const [Body, setBody] = useState<FunctionComponent<PanelProps> | null>(null)
    const [failed, setFailed] = useState(false)
    useEffect(() => { if (Body !== null) document.querySelector<HTMLElement>('.dock [data-first]')?.focus() }, [Body])
    useEffect(() => { load().then((body) => setBody(() => body), () => setFailed(true)) }, [])
    if (Body !== null) return <Body {...props} />
    return <p class="pane-message" role="status">{failed ? t.dock.failed : t.dock.loading}</p>
  }
}
