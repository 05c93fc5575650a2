// The code of a run as it was, and beside the code as it is now.
import { MergeView } from '@codemirror/merge'
import { EditorState, type Extension } from '@codemirror/state'
import { EditorView, lineNumbers } from '@codemirror/view'
import { useEffect, useRef, useState } from 'preact/hooks'
import { listFiles, textOf } from '../doc/files.ts'
import { grammarFor } from '../editor/languages.ts'
import { look } from '../editor/look.ts'
import type { Run } from '../live/messages.ts'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import type { CodeFile } from './code.ts'

interface CodeProps {
  session: RoomSession
  run: Run
}

export function CodeThen({ session, run }: CodeProps) {
  const then = useFiles(session, run)
  if (typeof then === 'string') return <p class="pane-message runs-view" role="status">{then}</p>
  const files = [...then].sort(byPath).map((f) => ({ id: f.id, path: f.path, note: '' }))
  return (
    <Chooser files={files} first={run.entry} none={t.runs.noFiles}>
      {(id) => <ReadOnly key={id} path={pathOf(then, id)} text={then.find((f) => f.id === id)?.content ?? ''} />}
    </Chooser>
  )
}

export function CodeChanges({ session, run }: CodeProps) {
  const then = useFiles(session, run)
  if (typeof then === 'string') return <p class="pane-message runs-view" role="status">{then}</p>
  const { doc } = session.doc
  // Files that come and go are seen; the text is as it is when a file is chosen.
  const now: CodeFile[] = session.doc.files.value.map((f) => ({ ...f, content: textOf(doc, f.id).toString() }))
  const changed = [...now, ...then.filter((f) => !now.some((n) => n.id === f.id))].flatMap(({ id, path }) => {
    const before = then.find((f) => f.id === id)
    const after = now.find((f) => f.id === id)
    if (before !== undefined && after !== undefined && before.content === after.content && before.path === after.path) return []
    return [{ id, path, note: before === undefined ? t.runs.fileAdded : after === undefined ? t.runs.fileRemoved : '' }]
  }).sort(byPath)
  return (
    <Chooser files={changed} first={run.entry} none={t.runs.unchanged}>
      {(id) => <Beside key={id} path={pathOf(listFiles(doc), id) || pathOf(then, id)} then={then.find((f) => f.id === id)?.content ?? ''} now={now.find((f) => f.id === id)?.content ?? ''} />}
    </Chooser>
  )
}

const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1)
const pathOf = (files: readonly { id: string; path: string }[], id: string): string => files.find((f) => f.id === id)?.path ?? ''

/** A run's files, or words while there are none. */
function useFiles(session: RoomSession, run: Run): CodeFile[] | string {
  const [files, setFiles] = useState<CodeFile[] | string>(t.runs.loading)
  useEffect(() => {
    let gone = false
    session.runFiles(run.number).then((all) => { if (!gone) setFiles(all) })
      .catch((err: unknown) => { if (!gone) setFiles(t.runs.historyFailed(err instanceof Error ? err.message : String(err))) })
    return () => { gone = true }
  }, [run.number])
  return files
}

interface ChooserProps {
  files: { id: string; path: string; note: string }[]
  /** The path of the file that is shown first. */
  first: string
  /** What stands there when there are no files. */
  none: string
  children(id: string): preact.ComponentChildren
}

function Chooser({ files, first, none, children }: ChooserProps) {
  const [chosen, setChosen] = useState('')
  const shown = files.find((f) => f.id === chosen) ?? files.find((f) => f.path === first) ?? files[0]
  if (shown === undefined) return <p class="pane-message runs-view" data-testid="runs-nothing">{none}</p>
  return (
    <div class="runs-view">
      <label class="runs-file">{t.runs.file}
        <select value={shown.id} data-testid="runs-file" onChange={(e) => setChosen(e.currentTarget.value)}>
          {files.map((f) => <option key={f.id} value={f.id}>{f.note === '' ? f.path : `${f.path} (${f.note})`}</option>)}
        </select>
      </label>
      {children(shown.id)}
    </div>
  )
}

/** What all these editors have; label says which one it is. */
function extensions(grammar: Extension, label: string): Extension[] {
  return [
    lineNumbers(), EditorState.readOnly.of(true), EditorState.tabSize.of(4), grammar, look,
    // Focusable, so that keys scroll it.
    EditorView.contentAttributes.of({ 'aria-label': label, 'aria-readonly': 'true', tabindex: '0' }),
  ]
}

/** Makes a view in a place when the grammar of its file is there. */
function useView(path: string, make: (parent: HTMLElement, grammar: Extension) => { destroy(): void }, deps: unknown[]) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    let made: { destroy(): void } | null = null
    let gone = false
    void grammarFor(path).catch((): Extension => []).then((grammar) => {
      if (!gone && place.current !== null) made = make(place.current, grammar)
    })
    return () => {
      gone = true
      made?.destroy()
    }
  }, deps)
  return place
}

function ReadOnly({ path, text }: { path: string; text: string }) {
  const place = useView(path, (parent, grammar) => new EditorView({ parent, state: EditorState.create({ doc: text, extensions: extensions(grammar, `${path}: ${t.runs.then}`) }) }), [path, text])
  return <div class="runs-code" ref={place} data-testid="runs-code-then" />
}

function Beside({ path, then, now }: { path: string; then: string; now: string }) {
  const place = useView(path, (parent, grammar) => new MergeView({
    parent,
    a: { doc: then, extensions: extensions(grammar, `${path}: ${t.runs.then}`) },
    b: { doc: now, extensions: extensions(grammar, `${path}: ${t.runs.now}`) },
    collapseUnchanged: { margin: 3, minSize: 6 },
    diffConfig: { timeout: 500 },
  }), [path, then, now])
  return (
    <>
      <p class="runs-sides" aria-hidden="true"><span>{t.runs.then}</span><span>{t.runs.now}</span></p>
      <div class="runs-code" ref={place} data-testid="runs-diff" />
    </>
  )
}
