// The few HTTP calls that the page makes.
import type { Language, Role, Run } from './live/messages.ts'
import type { PlaybackPage } from './playback/log.ts'
import type { CodeFile } from './runs/code.ts'
import { t } from './strings.ts'

/** A refusal in the server's words (RFC 9457). */
export class ApiError extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail)
  }
}

export async function call<T>(method: string, path: string, token: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = {}
  if (token !== '') headers.Authorization = `Bearer ${token}`
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  const answer = await fetch(`/api/v1${path}`, {
    method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }), ...(signal === undefined ? {} : { signal }),
  })
  const value: unknown = await answer.json().catch(() => null)
  if (!answer.ok) {
    const detail = typeof value === 'object' && value !== null && 'detail' in value ? String(value.detail) : ''
    throw new ApiError(answer.status, detail || t.serverAnswered(answer.status))
  }
  return value as T
}

export interface NewRoom {
  title?: string
  language?: string
  template?: string
  lobby?: boolean
}

export interface MadeRoom {
  id: string
  title: string
  language: string
  tokens: Record<Role, string>
}

export const languages = (): Promise<Language[]> => call('GET', '/languages', '')

export const makeRoom = (room: NewRoom, apiToken: string): Promise<MadeRoom> =>
  call('POST', '/rooms', apiToken, room)

export const rotateToken = (room: string, role: Role, token: string): Promise<{ token: string }> =>
  call('POST', `/rooms/${room}/tokens/${role}/rotate`, token)

/** A page of all that happened in a room. */
export const playback = (room: string, query: string, token: string, signal: AbortSignal): Promise<PlaybackPage> =>
  call('GET', `/rooms/${room}/playback${query}`, token, undefined, signal)

/** Runs the files as they were at a time, in the room. */
export const runMoment = (room: string, at: number, token: string): Promise<unknown> =>
  call('POST', `/rooms/${room}/runs`, token, { at: new Date(at).toISOString() })

/** The last runs of a room, the newest first. */
export const runs = (room: string, token: string): Promise<Run[]> => call('GET', `/rooms/${room}/runs`, token)

export const run = (room: string, n: number, token: string): Promise<Run> => call('GET', `/rooms/${room}/runs/${n}`, token)

/** A file's text as is usual in its language. */
export const format = (room: string, file: string, content: string, token: string): Promise<{ content: string; changed: boolean }> =>
  call('POST', `/rooms/${room}/format`, token, { file, content })

/** How many edits of the document there were since a run's code. */
export const editsSince = async (room: string, run: number, token: string): Promise<number> =>
  (await call<{ edits_since: number }>('GET', `/rooms/${room}/runs/${run}`, token)).edits_since

/** The files as a run got them. */
export const filesOfRun = async (room: string, run: number, token: string): Promise<CodeFile[]> =>
  (await call<{ files: CodeFile[] }>('GET', `/rooms/${room}/files?run=${run}`, token)).files

/** All that a run has printed. */
export async function runOutput(room: string, run: number, token: string): Promise<Uint8Array> {
  const answer = await fetch(`/api/v1/rooms/${room}/runs/${run}/output`, { headers: { Authorization: `Bearer ${token}` } })
  if (!answer.ok) throw new ApiError(answer.status, t.serverAnswered(answer.status))
  return new Uint8Array(await answer.arrayBuffer())
}

interface StdinPage {
  events: { data: { run: number; data?: string } }[]
  next: string
  more: boolean
}

/** The input that a run was given when it was started. */
export async function givenStdin(room: string, run: Run, token: string): Promise<string> {
  let query = `kind=stdin&limit=1000${run.created_at === undefined ? '' : `&since=${encodeURIComponent(run.created_at)}`}`
  for (;;) {
    const page = await call<StdinPage>('GET', `/rooms/${room}/history?${query}`, token)
    const found = page.events.find((e) => e.data.run === run.number)
    if (found !== undefined || !page.more) return found?.data.data ?? ''
    query = `kind=stdin&limit=1000&after=${encodeURIComponent(page.next)}`
  }
}

/** A file that a run left. */
export async function artefact(room: string, run: number, path: string, token: string, signal?: AbortSignal): Promise<Blob> {
  const place = path.split('/').map(encodeURIComponent).join('/')
  const answer = await fetch(`/api/v1/rooms/${room}/runs/${run}/artefacts/${place}`, {
    headers: { Authorization: `Bearer ${token}` }, ...(signal === undefined ? {} : { signal }),
  })
  if (!answer.ok) throw new ApiError(answer.status, t.serverAnswered(answer.status))
  return answer.blob()
}

/** Whether a room is there for a token; 'unknown' when the server can't say. */
export async function probeRoom(room: string, token: string): Promise<'ok' | 'gone' | 'unknown'> {
  try {
    await call('GET', `/rooms/${room}`, token)
    return 'ok'
  } catch (err) {
    return err instanceof ApiError && (err.status === 404 || err.status === 401) ? 'gone' : 'unknown'
  }
}
