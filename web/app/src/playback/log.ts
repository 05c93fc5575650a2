// A room's log as GET …/playback gives it, and what is read off it: who took
// part, where runs and hand-overs are, when something happened at all.
import type { Participant, RunStatus } from '../live/messages.ts'
import { fromBase64 } from '../doc/vector.ts'

/** An entry of the log; at is in milliseconds since 1970. */
export type Entry = { at: number } & (
  | { kind: 'edit'; by: string; bytes: number; update: Uint8Array }
  | { kind: 'output'; run: number; stream: string; offset: number; bytes: Uint8Array }
  | { kind: 'stdin'; run: number; by: string; text: string }
  | { kind: 'run'; run: number; event: RunEvent; by: string; name: string; language: string; mode: string; status: RunStatus | ''; message: string }
  | { kind: 'open' }
  | { kind: 'join' | 'leave' | 'remove' | 'rename'; participant: Participant }
  | { kind: 'driver'; driver: string | null; reason: string }
  | { kind: 'other'; name: string }
)

export type RunEvent = 'queued' | 'started' | 'stage' | 'exited'

export interface Log {
  entries: Entry[]
  /** Everybody who was ever there, as they were called last. */
  people: Map<string, Participant>
  start: number
  end: number
}

/** An update that brings more than anybody types at once, in bytes. */
const PASTE_BYTES = 96

export const isPaste = (entry: Entry): boolean => entry.kind === 'edit' && entry.bytes > PASTE_BYTES

interface RawEntry {
  at: string
  kind: string
  data: Record<string, unknown>
}

export interface PlaybackPage {
  start: string
  end: string
  keyframe?: { state: string }
  events: RawEntry[]
  next: string
  more: boolean
}

const encoder = new TextEncoder()
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const count = (value: unknown): number => (typeof value === 'number' ? value : 0)

function bytesOf(data: Record<string, unknown>): Uint8Array {
  return typeof data.base64 === 'string' ? fromBase64(data.base64) : encoder.encode(text(data.data))
}

/** Reads an entry; of a kind that this page does not know it keeps when it was. */
export function readEntry({ at: when, kind, data }: RawEntry): Entry {
  const at = Date.parse(when)
  switch (kind) {
    case 'edit':
      return { at, kind, by: text(data.by), bytes: count(data.bytes), update: fromBase64(text(data.update)) }
    case 'output':
      return { at, kind, run: count(data.run), stream: text(data.stream), offset: count(data.offset), bytes: bytesOf(data) }
    case 'stdin':
      return { at, kind, run: count(data.run), by: text(data.by), text: new TextDecoder().decode(bytesOf(data)) }
    case 'run':
      return {
        at, kind, run: count(data.run), event: text(data.event) as RunEvent, by: text(data.started_by), name: text(data.started_by_name),
        language: text(data.language), mode: text(data.mode), status: text(data.status) as RunStatus | '', message: text(data.message),
      }
    case 'open':
      return { at, kind }
    case 'join': case 'leave': case 'remove': case 'rename':
      return { at, kind, participant: data.participant as Participant }
    case 'driver':
      return { at, kind, driver: typeof data.driver === 'string' ? data.driver : null, reason: text(data.reason) }
    default:
      return { at, kind: 'other', name: kind }
  }
}

/**
 * Loads a whole log, page by page. The document at its begin is the first entry,
 * an edit of nobody's.
 */
export async function loadLog(get: (query: string) => Promise<PlaybackPage>, loaded: (entries: number) => void): Promise<Log> {
  const first = await get('?limit=1000')
  const start = Date.parse(first.start)
  const entries: Entry[] = []
  const state = fromBase64(first.keyframe?.state ?? '')
  if (state.length > 0) entries.push({ at: start, kind: 'edit', by: '', bytes: 0, update: state })
  for (let page = first; ; page = await get(`?limit=1000&after=${page.next}`)) {
    for (const raw of page.events) entries.push(readEntry(raw))
    loaded(entries.length)
    if (!page.more) break
  }
  const people = new Map<string, Participant>()
  for (const e of entries) if (e.kind === 'join' || e.kind === 'rename') people.set(e.participant.id, e.participant)
  return { entries, people, start, end: Math.max(start, entries.at(-1)?.at ?? start) }
}

/** A run's place on the timeline. */
export interface RunSpan {
  run: number
  from: number
  to: number
  status: RunStatus | ''
}

export function runsOf(log: Log): RunSpan[] {
  const runs = new Map<number, RunSpan>()
  for (const e of log.entries) {
    if (e.kind !== 'run') continue
    const known = runs.get(e.run)
    if (known === undefined) runs.set(e.run, { run: e.run, from: e.at, to: e.event === 'exited' ? e.at : log.end, status: e.status })
    else if (e.event === 'exited') Object.assign(known, { to: e.at, status: e.status })
  }
  return [...runs.values()]
}

/** What one author did in a piece of the timeline. */
export interface Mark {
  /** Which piece, from 0. */
  piece: number
  by: string
  paste: boolean
}

/** Who edited in which of so many pieces of the log. */
export function marksOf(log: Log, pieces: number): Mark[] {
  const marks = new Map<string, Mark>()
  const length = Math.max(1, log.end - log.start)
  for (const e of log.entries) {
    if (e.kind !== 'edit' || e.by === '') continue
    const piece = Math.min(pieces - 1, Math.floor(((e.at - log.start) / length) * pieces))
    const key = `${piece} ${e.by}`
    const known = marks.get(key)
    if (known === undefined) marks.set(key, { piece, by: e.by, paste: isPaste(e) })
    else known.paste ||= isPaste(e)
  }
  return [...marks.values()]
}

/** The first entry after a time, by its place; entries.length where there is none. */
export function after(entries: readonly Entry[], time: number): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((entries[middle] as Entry).at <= time) low = middle + 1
    else high = middle
  }
  return low
}
