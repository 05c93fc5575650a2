import { defaultKeymap } from '@codemirror/commands'
import { EditorState } from '@codemirror/state'
import { drawSelection, EditorView, keymap, placeholder } from '@codemirror/view'
import { useEffect, useRef } from 'preact/hooks'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import { look } from '../editor/look.ts'
import { remotePeople } from '../editor/remote.ts'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import type { NotesSession } from './notes-session.ts'

export function NotesPanel({ session }: { session: RoomSession }) {
  const notes = session.openNotes()
  const loaded = notes.loaded.value
  return (
    <div class="notes-panel">
      <p class="notes-who">{t.notes.who}</p>
      {loaded ? <Editor notes={notes} /> : <p class="pane-message">{t.dock.loading}</p>}
      <p class="notes-state soft" role="status" data-testid="notes-state" data-state={notes.connected.value ? 'connected' : 'offline'}>
        {notes.connected.value ? '' : t.notes.offline}
      </p>
    </div>
  )
}

function Editor({ notes }: { notes: NotesSession }) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (place.current === null) return
    const view = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: notes.text.toString(),
        extensions: [
          drawSelection(), EditorView.lineWrapping, placeholder(t.notes.placeholder),
          keymap.of([...yUndoManagerKeymap, ...defaultKeymap.filter((binding) => binding.key !== 'Mod-Enter')]),
          EditorView.contentAttributes.of({ 'aria-label': t.notes.who, 'data-first': '', 'data-testid': 'notes' }),
          yCollab(notes.text, null, { undoManager: notes.undo }), remotePeople(notes.text, notes.provider.awareness),
          look,
        ],
      }),
    })
    view.focus()
    return () => view.destroy()
  }, [notes])
  return <div class="notes-place" ref={place} />
}
