import { useState } from 'preact/hooks'
import { checkPath, deleteFile, newFile, renameFile, setMeta, type FileEntry } from '../doc/files.ts'
import { t } from '../strings.ts'
import { FileIcon, MoreIcon, PlayIcon, PlusIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'
import type { RoomSession } from './session.ts'

/** What is being named: a file's id, 'new', or nothing. */
type Naming = string | null
const NEW = 'new'

export function Files({ session }: { session: RoomSession }) {
  const [naming, setNaming] = useState<Naming>(null)
  const all = session.doc.files.value
  const doc = session.doc.doc
  const finish = (path: string): void => {
    if (naming === NEW) session.openFile.value = newFile(doc, path)
    else if (naming !== null) renameFile(doc, naming, path)
    setNaming(null)
  }
  const form = (id: string, path: string) => (
    <PathForm key={id} path={path} others={all.filter((f) => f.id !== id)} onDone={finish} onCancel={() => setNaming(null)} />
  )
  return (
    <section class="files" aria-labelledby="files-heading">
      <h2 id="files-heading">
        {t.files}
        {session.mayEdit.value && (
          <button type="button" class="quiet square" aria-label={t.newFile} title={t.newFile} data-testid="new-file" onClick={() => setNaming(NEW)}>
            <PlusIcon />
          </button>
        )}
      </h2>
      <ul data-testid="files">
        {all.map((file) => naming === file.id
          ? <li key={file.id}>{form(file.id, file.path)}</li>
          : <FileRow key={file.id} session={session} file={file} onRename={() => setNaming(file.id)} />)}
        {naming === NEW && <li>{form(NEW, '')}</li>}
      </ul>
    </section>
  )
}

function FileRow({ session, file, onRename }: { session: RoomSession; file: FileEntry; onRename(): void }) {
  const doc = session.doc.doc
  const open = session.shown.value?.id === file.id
  const entry = session.doc.meta.value.entry === file.id && session.doc.files.value.length > 1
  return (
    <li class="file" data-open={open}>
      <button type="button" class="file-name" aria-current={open ? 'true' : undefined} title={file.path} onClick={() => { session.openFile.value = file.id }}>
        <FileIcon /><span>{file.path}</span>
        {entry && <span class="entry-mark" title={t.entry}><PlayIcon /><span class="sr-only">{t.entry}</span></span>}
      </button>
      {session.mayEdit.value && (
        <Popover label={t.fileActions(file.path)} class="quiet square file-menu" face={<MoreIcon />}>
          {(close) => (
            <div class="menu">
              {!entry && session.doc.files.value.length > 1 && (
                <button type="button" onClick={() => { setMeta(doc, 'entry', file.id); close() }}>{t.setEntry}</button>
              )}
              <button type="button" onClick={() => { close(); onRename() }}>{t.renameFile}</button>
              <button type="button" class="danger" onClick={() => { close(); if (confirm(t.deleteConfirm(file.path))) deleteFile(doc, file.id) }}>
                {t.deleteFile}
              </button>
            </div>
          )}
        </Popover>
      )}
    </li>
  )
}

interface PathFormProps {
  path: string
  others: FileEntry[]
  onDone(path: string): void
  onCancel(): void
}

function PathForm({ path, others, onDone, onCancel }: PathFormProps) {
  const [text, setText] = useState(path)
  const [problem, setProblem] = useState('')
  const submit = (event: Event): void => {
    event.preventDefault()
    const wrong = checkPath(text.trim(), others)
    if (wrong === null) onDone(text.trim())
    else setProblem(wrong)
  }
  return (
    <form class="path-form" onSubmit={submit}>
      <input
        aria-label={path === '' ? t.newFilePrompt : t.renamePrompt} placeholder="name.py" value={text} autofocus spellcheck={false}
        autocomplete="off" data-testid="path-input" aria-invalid={problem !== ''} aria-describedby="path-problem"
        ref={(el) => { if (el !== null && document.activeElement !== el && text === path) el.focus() }}
        onInput={(e) => { setText(e.currentTarget.value); setProblem('') }}
        onKeyDown={(e) => { if (e.key === 'Escape') onCancel() }}
        onBlur={() => { if (text.trim() === path) onCancel() }}
      />
      <p class="problem" id="path-problem" role="alert">{problem}</p>
    </form>
  )
}
