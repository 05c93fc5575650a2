// The code that the shown run was made from, beside the code as it is now: how old the
// output is, which lines have changed since, and where a line of then is today.
import { effect, signal, type ReadonlySignal } from '@preact/signals'
import * as Y from 'yjs'
import { listFiles, textOf } from '../doc/files.ts'
import { fromBase64 } from '../doc/vector.ts'
import type { Run } from '../live/messages.ts'
import { anchoredLine, anchorLines, type Anchors } from './anchors.ts'
import { alike, changedLines, lineNow, linesOf, type Change } from './lines.ts'

export interface CodeFile {
  id: string
  path: string
  content: string
}

export interface RunCodeOptions {
  doc: Y.Doc
  /** Whether the document has been loaded: what comes before that is no edit. */
  loaded: ReadonlySignal<boolean>
  /** The files as a run got them. */
  filesOf(run: number): Promise<CodeFile[]>
  /** How many edits the server counts since a run. */
  editsSince(run: number): Promise<number>
}

/** Updates that are remembered, for a run whose start comes to be known after them. */
const REMEMBERED = 200
/** How long after an edit the code is compared again. */
const SETTLE_MS = 150

export class RunCode {
  /** How many edits ago the code was that the run got; 0 while it is the same. */
  readonly edits = signal(0)
  /** Changes each time that marks in an editor could be others. */
  readonly version = signal(0)
  private run: Run | null = null
  private files: CodeFile[] | null = null
  private asked: Promise<CodeFile[]> | null = null
  /** Of the files as they were when the run began, where this page was there. */
  private anchors = new Map<string, Anchors>()
  private count = 0
  /** Whether the code may be another though no edit is counted. */
  private unsure = false
  private readonly recent: { from: Map<number, number>; to: Map<number, number> }[] = []
  private timer: ReturnType<typeof setTimeout> | undefined
  private readonly stopWaiting: () => void
  private readonly onUpdate = (update: Uint8Array, _origin: unknown, _doc: Y.Doc, change: Y.Transaction): void => {
    if (!this.opts.loaded.value || !touchesCode(change)) return
    this.recent.push(Y.parseUpdateMeta(update))
    if (this.recent.length > REMEMBERED) this.recent.shift()
    this.count++
    this.later()
  }

  constructor(private readonly opts: RunCodeOptions) {
    opts.doc.on('update', this.onUpdate)
    this.stopWaiting = effect(() => { if (opts.loaded.value) this.later() })
  }

  close(): void {
    clearTimeout(this.timer)
    this.stopWaiting()
    this.opts.doc.off('update', this.onUpdate)
  }

  /** Turns to a run that has just begun. */
  follow(run: Run): void {
    if (!this.turnTo(run)) return
    if (this.opts.loaded.value) this.anchors = new Map(listFiles(this.opts.doc).map(({ id }) => [id, anchorLines(this.opts.doc, id)]))
    const ran = Y.decodeStateVector(fromBase64(run.state_vector ?? 'AA=='))
    const has = (client: number): number => ran.get(client) ?? 0
    const later = [...Y.decodeStateVector(Y.encodeStateVector(this.opts.doc))].filter(([client, clock]) => clock > has(client))
    // A run of a former moment has more after it than is remembered here.
    if (!later.every(([client]) => this.recent.some(({ from }) => (from.get(client) ?? Infinity) <= has(client)))) {
      void this.recount(run)
      return
    }
    // Our own edits may have come to the server after its snapshot, and before we heard of it.
    this.count = this.recent.filter(({ to }) => [...to].some(([client, clock]) => clock > has(client))).length
    this.later()
  }

  /** Turns to a run that was there before this page, or whose edits were missed. */
  async recount(run: Run | null): Promise<void> {
    if (run === null) return
    this.turnTo(run)
    const before = this.count
    const edits = await this.opts.editsSince(run.number).catch(() => before)
    if (this.run?.number !== run.number) return
    this.count = edits
    this.unsure = true
    this.later()
  }

  /** Where a line of the run's code is now: a file's id and a line, both counted as printed. */
  async placeNow(path: string, line: number): Promise<{ file: string; line: number } | null> {
    const then = (await this.code()).find((f) => f.path === path)
    if (then === undefined) {
      const file = listFiles(this.opts.doc).find((f) => f.path === path)
      return file === undefined ? null : { file: file.id, line }
    }
    if (!listFiles(this.opts.doc).some((f) => f.id === then.id)) return null
    return { file: then.id, line: this.lineNow(then, line - 1) + 1 }
  }

  /** The lines of a file that are others than those that ran, by number from 0. */
  marks(file: string): Map<number, Change> {
    if (this.edits.value === 0 || this.files === null) return new Map()
    const then = this.files.find((f) => f.id === file)
    return changedLines(then === undefined ? [] : linesOf(then.content), linesOf(this.textNow(file)))
  }

  /** The paths of the run's files, and of those that are there now. */
  paths(): string[] {
    return [...new Set([...(this.files ?? []).map((f) => f.path), ...listFiles(this.opts.doc).map((f) => f.path)])]
  }

  /** By the document, which knows each character; by comparison where it was typed anew, or before this page came. */
  private lineNow(then: CodeFile, line: number): number {
    const old = linesOf(then.content)
    const now = linesOf(this.textNow(then.id))
    const compared = lineNow(old, now, line)
    const anchors = this.anchors.get(then.id)
    if (anchors?.text !== then.content) return compared
    const anchored = anchoredLine(this.opts.doc, then.id, anchors, line)
    const likeness = (at: number): number => alike((old[line] ?? '').trim(), (now[at] ?? '').trim())
    return anchored === null || likeness(compared) > likeness(anchored) ? compared : anchored
  }

  private textNow(file: string): string {
    return textOf(this.opts.doc, file).toString()
  }

  private turnTo(run: Run): boolean {
    if (this.run?.number === run.number) return false
    this.run = run
    this.files = this.asked = null
    this.anchors.clear()
    this.count = 0
    this.unsure = false
    this.publish(0)
    return true
  }

  private code(): Promise<CodeFile[]> {
    const run = this.run
    if (run === null) return Promise.resolve([])
    return (this.asked ??= this.opts.filesOf(run.number).then((files) => {
      if (this.run === run) this.files = files
      return files
    }).catch(() => {
      if (this.run === run) this.asked = null // history that is gone, or a server that is away: the next edit asks again
      return []
    }))
  }

  private later(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.compare(), SETTLE_MS)
  }

  private async compare(): Promise<void> {
    const { run } = this
    if (run === null || !this.opts.loaded.value || (this.count === 0 && !this.unsure)) return
    await this.code()
    if (this.run !== run) return
    this.unsure = false
    // The server may not have counted yet what differs here.
    this.publish(this.same() ? 0 : Math.max(1, this.count))
  }

  /** Whether the code is again what ran, however it came to be that. */
  private same(): boolean {
    if (this.files === null) return this.count === 0 // they cannot be had: the count must do
    const now = listFiles(this.opts.doc)
    return now.length === this.files.length
      && this.files.every((then) => now.some((f) => f.id === then.id && f.path === then.path) && this.textNow(then.id) === then.content)
  }

  private publish(edits: number): void {
    this.edits.value = edits
    this.version.value++
  }
}

/** Whether a change is one of what runs: files, texts, language, entry. */
function touchesCode(change: Y.Transaction): boolean {
  for (const [type, keys] of change.changed) {
    if (type._item !== null) continue
    const name = Y.findRootTypeKey(type)
    if (name === 'files' || name.startsWith('file/')) return true
    if (name === 'room' && (keys.has('language') || keys.has('entry'))) return true
  }
  return false
}
