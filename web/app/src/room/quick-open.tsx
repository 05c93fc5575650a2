import { useEffect, useRef, useState } from 'preact/hooks'
import type { FileEntry } from '../doc/files.ts'
import { t } from '../strings.ts'
import type { RoomSession } from './session.ts'

/** The files whose path holds a query's letters in their order, the closest first. */
export function findFiles(files: readonly FileEntry[], query: string): FileEntry[] {
  const want = query.toLowerCase().replace(/\s+/g, '')
  const rated: { file: FileEntry; cost: number }[] = []
  for (const file of files) {
    const path = file.path.toLowerCase()
    let at = -1
    let cost = 0
    for (const letter of want) {
      const next = path.indexOf(letter, at + 1)
      if (next < 0) { cost = -1; break }
      cost += next - at - 1
      at = next
    }
    // A match within the name counts before one in its folders.
    if (cost >= 0) rated.push({ file, cost: path.slice(path.lastIndexOf('/') + 1).includes(want) ? 0 : cost + 1 })
  }
  return rated.sort((a, b) => a.cost - b.cost || a.file.path.length - b.file.path.length).map((r) => r.file)
}

/** Opens a file by a few letters of its path. */
export function QuickOpen({ session }: { session: RoomSession }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [query, setQuery] = useState('')
  const [at, setAt] = useState(0)
  useEffect(() => dialog.current?.showModal(), [])
  const found = findFiles(session.doc.files.value, query)
  const close = (): void => { session.quickOpen.value = false }
  const open = (file: FileEntry | undefined): void => {
    if (file === undefined) return
    session.openFile.value = file.id
    close()
    requestAnimationFrame(() => document.querySelector<HTMLElement>('.cm-content')?.focus())
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'ArrowDown') setAt(Math.min(at + 1, found.length - 1))
    else if (event.key === 'ArrowUp') setAt(Math.max(at - 1, 0))
    else if (event.key === 'Enter') open(found[at])
    else return
    event.preventDefault()
  }
  return (
    <dialog class="quick-open" ref={dialog} aria-label={t.tabs.quickOpen} onClose={close} onClick={(e) => { if (e.target === dialog.current) close() }}>
      <input
        role="combobox" aria-label={t.tabs.quickOpen} placeholder={t.tabs.quickOpen} aria-expanded="true" aria-controls="quick-open-list" autofocus
        aria-activedescendant={found.length > 0 ? `quick-open-${at}` : undefined} aria-autocomplete="list" autocomplete="off" spellcheck={false}
        data-testid="quick-open" value={query} onInput={(e) => { setQuery(e.currentTarget.value); setAt(0) }} onKeyDown={onKeyDown}
      />
      <ul role="listbox" id="quick-open-list" aria-label={t.filesHeading}>
        {found.slice(0, 50).map((file, i) => (
          <li key={file.id} id={`quick-open-${i}`} role="option" aria-selected={i === at} onClick={() => open(file)}>{file.path}</li>
        ))}
      </ul>
      {found.length === 0 && <p class="soft" role="status">{t.tabs.noMatch}</p>}
    </dialog>
  )
}
