// The files of the room as a tree (ARIA's tree pattern: one stop for Tab, arrows within).
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { checkPath, deleteFile, newFile, renameFile, setMeta, type FileEntry } from '../doc/files.ts'
import { baseName, isInside, joinPath, parentOf, planMove, treeRows, type TreeRow } from '../doc/tree.ts'
import { t } from '../strings.ts'
import { RightIcon, FileIcon, FolderIcon, MoreIcon, PlayIcon, PlusIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'
import { ask } from '../ui/question.tsx'
import { PathForm } from './path-form.tsx'
import type { RoomSession } from './session.ts'
import { downloadAll, takeIn, type Report } from './upload.ts'

/** What is being named: something new in a folder, or what is at a path. */
type Naming = { kind: 'new'; folder: string } | { kind: 'rename'; path: string } | null

/** What a row can do; the tree does it. */
interface RowActions {
  open(row: TreeRow): void
  toggle(folder: string, open: boolean): void
  rename(row: TreeRow): void
  remove(row: TreeRow): Promise<void>
  create(folder: string): void
  drop(event: DragEvent, folder: string): void
}

/** The kind under which a row's path travels while it is dragged. */
const DRAGGED = 'application/x-corun-path'

export function Files({ session }: { session: RoomSession }) {
  const [naming, setNaming] = useState<Naming>(null)
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set())
  const [active, setActive] = useState('')
  const [report, setReport] = useState<Report | null>(null)
  const tree = useRef<HTMLUListElement>(null)
  const all = session.doc.files.value
  const doc = session.doc.doc
  const mayEdit = session.mayEdit.value
  const rows = useMemo(() => treeRows(all, closed), [all, closed])
  const shown = session.shown.value?.path ?? ''
  // One row takes the focus: where it was, else the open file, else the first.
  const current = [active, shown].find((path) => rows.some((r) => r.path === path)) ?? rows[0]?.path ?? ''

  const focusRow = (path: string): void => {
    setActive(path)
    requestAnimationFrame(() => tree.current?.querySelector<HTMLElement>(`[data-path="${CSS.escape(path)}"]`)?.focus())
  }
  const toggle = (folder: string, open: boolean): void => {
    const next = new Set(closed)
    if (open) next.delete(folder)
    else next.add(folder)
    setClosed(next)
  }
  const upload = async (chosen: readonly File[], folder: string, problems: string[] = []): Promise<void> => {
    if (chosen.length === 0 && problems.length === 0) return
    const done = await takeIn(session, chosen, folder)
    setReport({ ...done, problems: [...problems, ...done.problems] })
  }
  const move = (from: string, to: string): string | null => {
    const plan = planMove(all, from, to)
    if (typeof plan === 'string') return plan
    doc.transact(() => { for (const { id, path } of plan) renameFile(doc, id, path) })
    focusRow(to)
    return null
  }
  const actions: RowActions = {
    open: (row) => {
      setActive(row.path)
      if (row.kind === 'folder') toggle(row.path, !row.open)
      else session.openFile.value = row.file.id
    },
    toggle,
    rename: (row) => { if (mayEdit) setNaming({ kind: 'rename', path: row.path }) },
    remove: async (row) => {
      if (!mayEdit) return
      const going = row.kind === 'file' ? [row.file] : all.filter((f) => isInside(f.path, row.path))
      if (!await ask(row.kind === 'file' ? t.deleteConfirm(row.path) : t.files.deleteFolder(row.path, going.length), t.deleteFile)) return
      const at = rows.indexOf(row)
      const next = rows.slice(at + 1).find((r) => !isInside(r.path, row.path)) ?? rows[at - 1]
      doc.transact(() => { for (const { id } of going) deleteFile(doc, id) })
      if (next !== undefined) focusRow(next.path)
    },
    create: (folder) => {
      if (folder !== '') toggle(folder, true)
      setNaming({ kind: 'new', folder })
    },
    drop: (event, folder) => {
      event.preventDefault()
      event.stopPropagation()
      if (!mayEdit || event.dataTransfer === null) return
      const from = event.dataTransfer.getData(DRAGGED)
      if (from === '') {
        const { files, problems } = dropped(event.dataTransfer)
        void upload(files, folder, problems)
      } else if (from !== folder && parentOf(from) !== folder && !isInside(folder, from)) {
        const problem = move(from, joinPath(folder, baseName(from)))
        if (problem !== null) session.tell(problem)
      }
    },
  }
  const create = (path: string): string | null => {
    const wrong = checkPath(path, all)
    if (wrong !== null) return wrong
    session.openFile.value = newFile(doc, path)
    setNaming(null)
    focusRow(path)
    return null
  }
  const rename = (from: string, to: string): string | null => {
    const wrong = move(from, to)
    if (wrong === null) setNaming(null)
    return wrong
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (!(event.target instanceof HTMLElement) || event.target.getAttribute('role') !== 'treeitem') return
    const done = treeKey(event.key, rows, current, actions, focusRow)
    if (done) {
      event.preventDefault()
      event.stopPropagation()
    }
  }

  return (
    <section class="files" aria-labelledby="files-heading" onDragOver={(e) => { if (mayEdit) e.preventDefault() }} onDrop={(e) => actions.drop(e, '')}>
      <div class="files-head">
        <h2 id="files-heading">{t.filesHeading}</h2>
        {mayEdit && (
          <button type="button" class="quiet square" aria-label={t.newFile} title={t.newFile} data-testid="new-file" onClick={() => actions.create('')}>
            <PlusIcon />
          </button>
        )}
        <MoreForFiles session={session} onChosen={(files) => void upload(files, '')} />
      </div>
      <ul role="tree" aria-label={t.files.tree} data-testid="files" ref={tree} onKeyDown={onKeyDown}>
        {rows.map((row) => naming?.kind === 'rename' && naming.path === row.path
          ? <PathRow key={row.path} path={row.path} start={row.path} onCancel={() => { setNaming(null); focusRow(row.path) }} onDone={(to) => rename(row.path, to)} label={row.kind === 'folder' ? t.files.renameFolderPrompt : t.renamePrompt} />
          : <Row key={row.path} session={session} row={row} current={row.path === current} actions={actions} onFocus={() => setActive(row.path)} />)}
      </ul>
      {naming?.kind === 'new' && (
        <PathForm
          path={naming.folder === '' ? '' : `${naming.folder}/`} label={t.newFilePrompt} onDone={create}
          onCancel={() => { setNaming(null); focusRow(current) }}
        />
      )}
      {report !== null && <UploadReport report={report} onDismiss={() => setReport(null)} />}
    </section>
  )
}

function PathRow({ path, start, label, onDone, onCancel }: { path: string; start: string; label: string; onDone(to: string): string | null; onCancel(): void }) {
  return <li key={path} role="none"><PathForm path={start} label={label} onDone={onDone} onCancel={onCancel} /></li>
}

/** A key of the tree pattern; true if it was one. */
function treeKey(key: string, rows: readonly TreeRow[], current: string, actions: RowActions, focusRow: (path: string) => void): boolean {
  const at = rows.findIndex((r) => r.path === current)
  const row = rows[at]
  if (row === undefined) return false
  const go = (to: TreeRow | undefined): true => {
    if (to !== undefined) focusRow(to.path)
    return true
  }
  const folder = row.kind === 'folder'
  switch (key) {
    case 'ArrowDown': return go(rows[at + 1])
    case 'ArrowUp': return go(rows[at - 1])
    case 'Home': return go(rows[0])
    case 'End': return go(rows.at(-1))
    case 'ArrowRight':
      if (folder && !row.open) actions.toggle(row.path, true)
      else if (folder) go(rows[at + 1])
      return true
    case 'ArrowLeft':
      if (folder && row.open) actions.toggle(row.path, false)
      else go(rows.find((r) => r.path === parentOf(row.path)))
      return true
    case 'Enter':
    case ' ':
      actions.open(row)
      return true
    case 'F2':
      actions.rename(row)
      return true
    case 'Delete':
      void actions.remove(row)
      return true
    default: {
      if (!/^[\p{L}\p{N}_.]$/u.test(key)) return false
      const after = [...rows.slice(at + 1), ...rows.slice(0, at)]
      return go(after.find((r) => r.name.toLowerCase().startsWith(key.toLowerCase())))
    }
  }
}

interface RowProps {
  session: RoomSession
  row: TreeRow
  current: boolean
  actions: RowActions
  onFocus(): void
}

function Row({ session, row, current, actions, onFocus }: RowProps) {
  const [over, setOver] = useState(false)
  const file: FileEntry | null = row.kind === 'file' ? row.file : null
  const open = file !== null && session.shown.value?.id === file.id
  const entry = file !== null && session.doc.meta.value.entry === file.id && session.doc.files.value.length > 1
  const target = file === null ? row.path : parentOf(row.path)
  const mayEdit = session.mayEdit.value
  return (
    <li
      class="file" role="treeitem" data-open={open} data-path={row.path} data-over={over} title={row.path} style={{ '--level': String(row.level) }}
      aria-label={entry ? `${row.name}, ${t.entry}` : row.name} aria-level={row.level} aria-selected={open}
      aria-expanded={row.kind === 'folder' ? row.open : undefined} aria-keyshortcuts="F2 Delete"
      tabIndex={current ? 0 : -1} onFocus={onFocus} draggable={mayEdit}
      onClick={() => actions.open(row)}
      onDragStart={(e) => { e.dataTransfer?.setData(DRAGGED, row.path) }}
      onDragOver={(e) => { if (mayEdit) { e.preventDefault(); setOver(true) } }} onDragLeave={() => setOver(false)}
      onDrop={(e) => { setOver(false); actions.drop(e, target) }}
    >
      <span class="file-name">
        {row.kind === 'folder' ? <><span class="chevron" data-down={row.open}><RightIcon /></span><FolderIcon /></> : <FileIcon />}
        <span>{row.name}</span>
        {entry && <span class="entry-mark" title={t.entry}><PlayIcon /></span>}
      </span>
      {mayEdit && (
        // A click in the menu is none on the row.
        <span class="row-menu" onClick={(e) => e.stopPropagation()}>
          <Popover label={t.fileActions(row.path)} class="quiet square file-menu" face={<MoreIcon />} tabIndex={current ? 0 : -1}>
            {(close) => (
              <div class="menu">
                {file !== null && !entry && session.doc.files.value.length > 1 && (
                  <button type="button" onClick={() => { setMeta(session.doc.doc, 'entry', file.id); close() }}>{t.setEntry}</button>
                )}
                {file === null && <button type="button" onClick={() => { close(); actions.create(row.path) }}>{t.files.newIn}</button>}
                <button type="button" onClick={() => { close(); actions.rename(row) }}>{t.renameFile}</button>
                <button type="button" class="danger" onClick={() => { close(); void actions.remove(row) }}>{t.deleteFile}</button>
              </div>
            )}
          </Popover>
        </span>
      )}
    </li>
  )
}

/** Upload and download, which are not needed often. */
function MoreForFiles({ session, onChosen }: { session: RoomSession; onChosen(files: File[]): void }) {
  const input = useRef<HTMLInputElement>(null)
  return (
    <>
      <input
        type="file" multiple hidden ref={input} data-testid="upload-input" tabIndex={-1} aria-hidden="true"
        onChange={(e) => { onChosen([...(e.currentTarget.files ?? [])]); e.currentTarget.value = '' }}
      />
      <Popover label={t.files.more} class="quiet square" testid="files-more" face={<MoreIcon />}>
        {(close) => (
          <div class="menu">
            {session.mayEdit.value && (
              <button type="button" title={t.files.uploadHint} data-testid="upload" onClick={() => { close(); input.current?.click() }}>{t.files.upload}</button>
            )}
            <button type="button" data-testid="download" onClick={() => { close(); void downloadAll(session) }}>{t.files.download}</button>
          </div>
        )}
      </Popover>
    </>
  )
}

/** How many problems are named before the rest is counted. */
const NAMED = 6

function UploadReport({ report, onDismiss }: { report: Report; onDismiss(): void }) {
  const { added, problems } = report
  useEffect(() => {
    if (problems.length > 0) return
    const gone = setTimeout(onDismiss, 5_000)
    return () => clearTimeout(gone)
  }, [report])
  return (
    <div class="upload-report" role="status" data-testid="upload-report">
      {added > 0 && <p>{t.files.added(added)}</p>}
      {problems.length > 0 && (
        <ul>
          {problems.slice(0, NAMED).map((problem) => <li key={problem}>{problem}</li>)}
          {problems.length > NAMED && <li>{t.files.moreProblems(problems.length - NAMED)}</li>}
        </ul>
      )}
      <button type="button" class="secondary small" onClick={onDismiss}>{t.dismiss}</button>
    </div>
  )
}

/** The files of a drop; folders cannot be read like files. */
function dropped(data: DataTransfer): { files: File[]; problems: string[] } {
  const files: File[] = []
  const problems: string[] = []
  for (const item of data.items) {
    if (item.kind !== 'file') continue
    const entry = item.webkitGetAsEntry()
    const file = item.getAsFile()
    if (entry?.isDirectory === true) problems.push(t.files.leftOut(entry.name, t.files.isFolder))
    else if (file !== null) files.push(file)
  }
  return { files, problems }
}
