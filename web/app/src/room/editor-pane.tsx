import { useEffect, useMemo, useRef } from 'preact/hooks'
import * as Y from 'yjs'
import { textOf, type FileEntry } from '../doc/files.ts'
import { FileEditor } from '../editor/editor.ts'
import { runInEditor } from '../runs/marks.ts'
import { settings } from '../editor/settings.ts'
import { historyOf } from '../editor/undo.ts'
import { t } from '../strings.ts'
import { EditorSettingsButton } from './editor-settings.tsx'
import { FollowBar } from './follow-bar.tsx'
import { FormatButton } from './format-button.tsx'
import { QuickOpen } from './quick-open.tsx'
import type { RoomSession } from './session.ts'
import { Splitter } from './splitter.tsx'
import { PANEL_ID, TabBar } from './tab-bar.tsx'

export function EditorPane({ session }: { session: RoomSession }) {
  const file = session.shown.value
  const { you, room, storageProblem } = session.state.value
  const why = you?.role === 'viewer' ? t.readOnlyViewer
    : room?.locked === true ? t.readOnlyLocked
      : storageProblem !== '' ? t.readOnlyStorage
        : room?.driver_only === true && !session.isDriver.value ? t.readOnlyDriver : ''
  const histories = useMemo(() => new Map<string, Y.UndoManager>(), [session])
  return (
    <main class="editor-pane" data-testid="editor">
      <div class="pane-head">
        <TabBar session={session} />
        <span class="read-only" data-testid="read-only" title={why}>{why}</span>
        {file !== undefined && <FormatButton session={session} file={file} />}
        <EditorSettingsButton />
      </div>
      {session.quickOpen.value && <QuickOpen session={session} />}
      {!session.doc.loaded.value && file === undefined
        ? <p class="pane-message">{t.loading}</p>
        : file === undefined
          ? <p class="pane-message">{t.noFile}</p>
          : <Editor key={file.id} session={session} file={file} histories={histories} />}
      <FollowBar session={session} />
      <Splitter />
    </main>
  )
}

interface EditorProps {
  session: RoomSession
  file: FileEntry
  histories: Map<string, Y.UndoManager>
}

function Editor({ session, file, histories }: EditorProps) {
  const place = useRef<HTMLDivElement>(null)
  const editor = useRef<FileEditor | null>(null)
  const readOnly = !session.mayEdit.value
  useEffect(() => {
    if (place.current === null) return
    const text = textOf(session.doc.doc, file.id)
    let undo = histories.get(file.id)
    if (undo === undefined) {
      undo = historyOf(text)
      histories.set(file.id, undo)
    }
    const made = new FileEditor({
      parent: place.current, text, path: file.path, awareness: session.doc.provider.awareness, undo, readOnly,
      extra: runInEditor(session.runs, file.id),
      place: session.tabs.places.get(file.id),
    })
    editor.current = made
    // Focus follows what was just opened, but is taken from nobody's hands: nor where this
    // file merely stands in for one that is gone.
    const chosen = session.openFile.peek() === file.id
    if (document.activeElement === document.body || (chosen && document.activeElement?.closest('.file, .path-form, dialog') != null)) made.focus()
    const detach = session.navigation.attach(file.id, made)
    return () => {
      detach()
      session.tabs.places.set(file.id, made.place)
      editor.current = null
      made.destroy()
    }
  }, [session, file.id])
  useEffect(() => { editor.current?.setPath(file.path) }, [file.path, t.locale])
  useEffect(() => { editor.current?.setReadOnly(readOnly) }, [readOnly])
  const liking = settings.value
  useEffect(() => { editor.current?.setSettings(liking, file.path) }, [session, file.id, liking])
  return <div class="editor-place" id={PANEL_ID} role="tabpanel" aria-label={file.path} ref={place} />
}
