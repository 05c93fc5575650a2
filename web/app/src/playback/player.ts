// Shows a log again: the document, the people and the terminal as they were at
// a time, which goes on by itself while it plays. A time before the present one
// is reached from the last state that was kept before it.
import { signal, type Signal } from '@preact/signals'
import * as Y from 'yjs'
import { listFiles, textOf, type FileEntry } from '../doc/files.ts'
import { PTY, STDERR, STDOUT, type OutputFrame, type Stream } from '../live/frames.ts'
import type { Participant, RunStatus } from '../live/messages.ts'
import { after, type Entry, type Log } from './log.ts'

export const speeds = [0.5, 1, 2, 4, 8, 16, 32] as const

/** A pause that is longer is passed over, but for its last moment. */
const IDLE_MS = 2_000
const BEFORE_NEXT_MS = 500
/** After so many entries a state is kept to come back to. */
const KEEP_EVERY = 1_000

export interface ShownRun {
  run: number
  by: string
  state: 'queued' | 'running' | 'finished'
  status: RunStatus | ''
  message: string
}

/** What the terminal is told. */
export interface Screen {
  clear(run: number): void
  write(frame: OutputFrame): void
  echo(text: string): void
}

interface State {
  people: readonly Participant[]
  driver: string | null
  run: ShownRun | null
}

interface Kept extends State {
  next: number
  doc: Uint8Array
}

const streams: Record<string, Stream> = { stdout: STDOUT, stderr: STDERR, pty: PTY }
const nothing: State = { people: [], driver: null, run: null }

export class Player {
  /** The document as it was; another one after each step back. */
  readonly doc = signal(new Y.Doc())
  readonly files = signal<FileEntry[]>([])
  readonly state = signal<State>(nothing)
  readonly time: Signal<number>
  readonly playing = signal(false)
  readonly speed = signal<number>(1)
  readonly skipIdle = signal(true)
  /** Where the last edit was: a file's id and a place in its text. */
  readonly edited = signal<{ file: string; at: number } | null>(null)
  private next = 0
  private readonly kept: Kept[] = []
  private frame = 0
  private last = 0

  constructor(readonly log: Log, private readonly screen: Screen) {
    this.time = signal(log.start)
    this.follow(this.doc.value)
    this.seek(log.start)
  }

  play(): void {
    if (this.playing.value) return
    if (this.time.value >= this.log.end) this.seek(this.log.start)
    this.playing.value = true
    this.last = performance.now()
    const step = (now: number): void => {
      this.advance((now - this.last) * this.speed.value)
      this.last = now
      if (this.playing.value) this.frame = requestAnimationFrame(step)
    }
    this.frame = requestAnimationFrame(step)
  }

  pause(): void {
    this.playing.value = false
    cancelAnimationFrame(this.frame)
  }

  /** Goes on by so many milliseconds of the log's time. */
  advance(by: number): void {
    let to = this.time.value + by
    const ahead = this.log.entries[after(this.log.entries, this.time.value)]
    if (this.skipIdle.value && ahead !== undefined && ahead.at - this.time.value > IDLE_MS) to = Math.max(to, ahead.at - BEFORE_NEXT_MS)
    this.seek(to)
    if (this.time.value >= this.log.end) this.pause()
  }

  /** Shows the room as it was at a time. */
  seek(time: number): void {
    const to = Math.min(Math.max(time, this.log.start), this.log.end)
    if (to < this.time.value) this.restart(to)
    const until = after(this.log.entries, to)
    const doc = this.doc.value
    let state = this.state.value
    for (; this.next < until; this.next++) {
      if (this.next % KEEP_EVERY === 0 && this.next > (this.kept.at(-1)?.next ?? 0)) {
        this.kept.push({ next: this.next, doc: Y.encodeStateAsUpdate(doc), ...state })
      }
      const entry = this.log.entries[this.next] as Entry
      if (entry.kind === 'edit') Y.applyUpdate(doc, entry.update, this)
      else state = this.take(state, entry)
    }
    this.state.value = state
    this.time.value = to
  }

  close(): void {
    this.pause()
    this.doc.value.destroy()
  }

  /** Begins again at what was kept last before a time. */
  private restart(time: number): void {
    const until = after(this.log.entries, time)
    const from = this.kept.findLast((k) => k.next <= until)
    const doc = new Y.Doc()
    if (from !== undefined) Y.applyUpdate(doc, from.doc, this)
    this.next = from?.next ?? 0
    const { people, driver, run } = from ?? nothing
    this.state.value = { people, driver, run }
    this.edited.value = null
    const former = this.doc.value
    this.follow(doc)
    this.doc.value = doc
    former.destroy()
    // What the run had printed until the state that was kept.
    this.screen.clear(run?.run ?? 0)
    for (const entry of this.log.entries.slice(0, this.next)) if ('run' in entry && entry.run === run?.run) this.print(entry)
  }

  private follow(doc: Y.Doc): void {
    const list = (): void => { this.files.value = listFiles(doc) }
    doc.getMap('files').observe(list)
    list()
    doc.on('afterTransaction', (change: Y.Transaction) => {
      for (const [type, events] of change.changedParentTypes) {
        const file = this.files.value.find((f) => textOf(doc, f.id) === (type as unknown))
        const event = events[0]
        if (file === undefined || event === undefined || this.next === 0) continue
        let at = 0
        for (const part of event.delta) {
          if (part.retain === undefined) break
          at += part.retain
        }
        this.edited.value = { file: file.id, at }
      }
    })
  }

  private take(state: State, entry: Entry): State {
    switch (entry.kind) {
      case 'open':
        return { ...state, people: [], driver: null }
      case 'join': case 'rename': {
        const known = state.people.some((p) => p.id === entry.participant.id)
        if (!known) return entry.kind === 'join' ? { ...state, people: [...state.people, entry.participant] } : state
        return { ...state, people: state.people.map((p) => (p.id === entry.participant.id ? entry.participant : p)) }
      }
      case 'leave': case 'remove':
        return { ...state, people: state.people.filter((p) => p.id !== entry.participant.id) }
      case 'driver':
        return { ...state, driver: entry.driver }
      case 'run':
        switch (entry.event) {
          case 'queued':
            this.screen.clear(entry.run)
            return { ...state, run: { run: entry.run, by: entry.name, state: 'queued', status: '', message: '' } }
          case 'exited':
            return state.run === null ? state : { ...state, run: { ...state.run, state: 'finished', status: entry.status, message: entry.message } }
          default:
            return state.run === null ? state : { ...state, run: { ...state.run, state: 'running' } }
        }
      case 'output': case 'stdin':
        this.print(entry)
        return state
      default:
        return state
    }
  }

  private print(entry: Entry): void {
    if (entry.kind === 'output') {
      const stream = streams[entry.stream]
      if (stream !== undefined) this.screen.write({ stream, run: entry.run, offset: entry.offset, data: entry.bytes })
    } else if (entry.kind === 'stdin' && this.inPipes(entry.run)) {
      this.screen.echo(entry.text)
    }
  }

  /** A terminal echoes by itself. */
  private inPipes(run: number): boolean {
    return this.log.entries.some((e) => e.kind === 'run' && e.run === run && e.mode === 'pipes')
  }
}
