// Formats the file that is shown: the server's formatter does, and what it makes of the
// text is an edit of this person's.
import { useEffect, useState } from 'preact/hooks'
import * as api from '../api.ts'
import { textOf, type FileEntry } from '../doc/files.ts'
import { hunksOf, Since } from '../doc/formatted.ts'
import { t } from '../strings.ts'
import { FormatIcon } from '../ui/room-icons.tsx'
import type { RoomSession } from './session.ts'
import { unformattable } from './unformattable.ts'

async function format(session: RoomSession, file: FileEntry): Promise<string> {
  const text = textOf(session.doc.doc, file.id)
  const before = text.toString()
  const since = new Since(text)
  try {
    const { content, changed } = await api.format(session.room, file.path, before, session.pass)
    if (!changed) return t.format.already
    const hunks = await hunksOf(before, content)
    // What may be edited can have changed while the formatter was at work.
    if (session.mayEdit.value) since.apply(hunks)
    return t.format.done
  } finally {
    since.stop()
  }
}

export function FormatButton({ session, file }: { session: RoomSession; file: FileEntry }) {
  const [busy, setBusy] = useState(false)
  const why = unformattable(file.path, session.state.value.languages)
  const may = session.mayEdit.value && session.online.value
  const start = (): void => {
    if (!may || busy) return
    if (why !== '') return session.tell(why)
    setBusy(true)
    session.tell('')
    format(session, file)
      .then((words) => { session.announcement.value = words }, (err: unknown) => session.tell(err instanceof Error ? err.message : String(err)))
      .finally(() => setBusy(false))
  }
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (!event.shiftKey || !event.altKey || event.ctrlKey || event.metaKey || event.code !== 'KeyF') return
      if (event.target instanceof Element && event.target.closest('.terminal, dialog') !== null) return
      event.preventDefault()
      event.stopPropagation()
      start()
    }
    // Before the editor, which would take it for a letter.
    addEventListener('keydown', onKey, { capture: true })
    return () => removeEventListener('keydown', onKey, { capture: true })
  })
  if (session.state.value.you?.role === 'viewer') return null
  // It can be reached where it does nothing, to say why.
  return (
    <button
      type="button" class="quiet square" data-testid="format" aria-disabled={!may || busy || why !== ''} aria-busy={busy}
      aria-label={why === '' ? t.format.action : `${t.format.action}: ${why}`} title={why === '' ? `${t.format.action} (${t.format.keys})` : why} onClick={start}
    >
      <FormatIcon />
    </button>
  )
}
