import { useRef } from 'preact/hooks'
import type { FileEntry } from '../doc/files.ts'
import { baseName, parentOf } from '../doc/tree.ts'
import { t } from '../strings.ts'
import { CloseIcon } from '../ui/icons.tsx'
import type { RoomSession } from './session.ts'

export const PANEL_ID = 'editor-panel'

/** The open files, as ARIA's tabs: arrows choose, Delete closes. */
export function TabBar({ session }: { session: RoomSession }) {
  const bar = useRef<HTMLDivElement>(null)
  const open = session.tabs.files.value
  const shown = session.shown.value?.id
  const choose = (file: FileEntry | undefined): void => {
    if (file === undefined) return
    session.openFile.value = file.id
    requestAnimationFrame(() => bar.current?.querySelector<HTMLElement>('[aria-selected=true]')?.focus())
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = open.findIndex((f) => f.id === shown)
    if (event.key === 'ArrowRight') choose(open[(at + 1) % open.length])
    else if (event.key === 'ArrowLeft') choose(open[(at - 1 + open.length) % open.length])
    else if (event.key === 'Home') choose(open[0])
    else if (event.key === 'End') choose(open.at(-1))
    else if (event.key === 'Delete' && shown !== undefined) {
      session.tabs.close(shown)
      choose(session.shown.value)
    } else return
    event.preventDefault()
  }
  return (
    <div class="tabs" role="tablist" aria-label={t.tabs.list} data-testid="tabs" ref={bar} onKeyDown={onKeyDown}>
      {open.map((file) => <Tab key={file.id} session={session} file={file} selected={file.id === shown} closable={open.length > 1} twin={open.some((f) => f.id !== file.id && baseName(f.path) === baseName(file.path))} />)}
    </div>
  )
}

interface TabProps {
  session: RoomSession
  file: FileEntry
  selected: boolean
  closable: boolean
  /** Whether another tab has the same name, so that the folder must tell them apart. */
  twin: boolean
}

function Tab({ session, file, selected, closable, twin }: TabProps) {
  const close = (event: Event): void => {
    event.preventDefault()
    event.stopPropagation()
    session.tabs.close(file.id)
  }
  return (
    <div
      class="tab" role="tab" aria-selected={selected} aria-controls={PANEL_ID} aria-keyshortcuts={closable ? 'Delete Alt+W' : undefined}
      aria-label={file.path} tabIndex={selected ? 0 : -1} title={file.path} data-path={file.path}
      ref={(el) => { if (selected) el?.scrollIntoView({ block: 'nearest', inline: 'nearest' }) }}
      onClick={() => { session.openFile.value = file.id }}
      onMouseDown={(e) => { if (e.button === 1) e.preventDefault() }} onAuxClick={(e) => { if (e.button === 1) close(e) }}
    >
      <span>{baseName(file.path)}{twin && parentOf(file.path) !== '' && <small> {parentOf(file.path)}</small>}</span>
      {/* For the mouse; the keyboard has Delete and Alt+W, which screen readers are told. */}
      {closable && <span class="tab-close" aria-hidden="true" title={t.tabs.close} onClick={close}><CloseIcon /></span>}
    </div>
  )
}
