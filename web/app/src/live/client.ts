// The socket to /live: connects, comes back after a loss as the same person,
// and knows the ends that are final.
import { Backoff } from './backoff.ts'
import { decodeOutput, encodeInput, type OutputFrame } from './frames.ts'
import { parseMessage, type ClientMessage, type ServerMessage } from './messages.ts'

/** Why there is no way back. */
export type Ending = 'removed' | 'ended' | 'not_found'

export type Link = 'connecting' | 'open' | 'waiting'

export interface LiveOptions {
  /** The socket's address without its query, as ws://host/live/room. */
  url: string
  token: string
  name: string
  hue: number
  resume: string | null
  /** Tells the server that the document's socket is this person's. */
  session: string
  onMessage(msg: ServerMessage): void
  onOutput(frame: OutputFrame): void
  onLink(link: Link): void
  /** Called at most once; the client is closed then. */
  onEnding(ending: Ending): void
  /** Keeps the proof of being the same person for a reload; null forgets it. */
  onResume(resume: string | null): void
  /** Asks over HTTP whether a refused room is still there for this token. */
  probe(token: string): Promise<'ok' | 'gone' | 'unknown'>
  WebSocket?: typeof WebSocket
  backoff?: Backoff
}

export const CLOSE_REMOVED = 4403
export const CLOSE_REPLACED = 4409
export const CLOSE_ENDED = 4410

/** The server answers within its own timeouts; a socket that is silent for
 * longer than a ping and its answer is dead without having said so. */
const PING_EVERY_MS = 20_000
const SILENCE_MS = 45_000

/** Input goes in pieces, so that a large paste stays under the server's
 * message limit of 1 MiB with room to spare. */
const MAX_INPUT_BYTES = 64 << 10

export class LiveClient {
  private ws: WebSocket | null = null
  private retry: ReturnType<typeof setTimeout> | undefined
  private ping: ReturnType<typeof setInterval> | undefined
  private heardAt = 0
  private closed = false
  private readonly backoff: Backoff
  private readonly encoder = new TextEncoder()
  private readonly comeBack = (): void => { if (this.retry !== undefined) this.connect() }

  constructor(private readonly opts: LiveOptions) {
    this.backoff = opts.backoff ?? new Backoff()
  }

  open(): void {
    globalThis.addEventListener?.('online', this.comeBack)
    this.connect()
  }

  /** Sends a message; false when there is no connection to send it on. */
  send(msg: ClientMessage): boolean {
    return this.write(JSON.stringify(msg))
  }

  /** Sends the driver's typing to a run. */
  input(run: number, text: string): boolean {
    const bytes = this.encoder.encode(text)
    for (let at = 0; at < bytes.length; at += MAX_INPUT_BYTES) {
      if (!this.write(encodeInput(run, bytes.subarray(at, at + MAX_INPUT_BYTES)))) return false
    }
    return true
  }

  setPerson(name: string, hue: number): void {
    this.opts.name = name
    this.opts.hue = hue
    this.send({ type: 'participant.update', name, hue })
  }

  /** Uses another token from the next connection on. */
  setToken(token: string): void {
    this.opts.token = token
  }

  close(): void {
    this.closed = true
    globalThis.removeEventListener?.('online', this.comeBack)
    clearTimeout(this.retry)
    clearInterval(this.ping)
    const ws = this.ws
    this.ws = null
    ws?.close(1000)
  }

  private write(data: string | Uint8Array<ArrayBuffer>): boolean {
    if (this.ws === null || this.ws.readyState !== 1) return false
    this.ws.send(data)
    return true
  }

  private connect(): void {
    clearTimeout(this.retry)
    this.retry = undefined
    if (this.closed) return
    this.opts.onLink('connecting')
    const { url, token, name, hue, resume, session } = this.opts
    const query = new URLSearchParams({ name, hue: String(hue), session })
    if (token !== '') query.set('token', token)
    if (resume !== null) query.set('resume', resume)
    const Socket = this.opts.WebSocket ?? WebSocket
    const ws = new Socket(`${url}?${query.toString()}`)
    ws.binaryType = 'arraybuffer'
    this.ws = ws
    // A socket that was replaced in the meantime has no say any more.
    const current = (): boolean => this.ws === ws
    let greeted = false
    ws.onmessage = (event: MessageEvent<unknown>) => {
      if (!current()) return
      this.heardAt = Date.now()
      if (event.data instanceof ArrayBuffer) {
        const frame = decodeOutput(event.data)
        if (frame !== null) this.opts.onOutput(frame)
        return
      }
      const msg = typeof event.data === 'string' ? parseMessage(event.data) : null
      if (msg === null) return
      if (msg.type === 'hello' || msg.type === 'lobby') {
        greeted = true
        this.backoff.reset()
        if (msg.type === 'hello') this.remember(msg.resume)
        this.opts.onLink('open')
      } else if (msg.type === 'token.rotated' && msg.resume !== undefined) {
        this.remember(msg.resume)
      }
      this.opts.onMessage(msg)
    }
    ws.onclose = (event: CloseEvent) => { if (current()) this.lost(event.code, greeted) }
    this.watch(ws)
  }

  private remember(resume: string | null): void {
    this.opts.resume = resume
    this.opts.onResume(resume)
  }

  /** Finds out that a connection died without a close. */
  private watch(ws: WebSocket): void {
    clearInterval(this.ping)
    this.heardAt = Date.now()
    this.ping = setInterval(() => {
      if (Date.now() - this.heardAt > SILENCE_MS) {
        ws.close()
        this.lost(1006, true)
      } else {
        this.send({ type: 'ping' })
      }
    }, PING_EVERY_MS)
  }

  private lost(code: number, greeted: boolean): void {
    this.ws = null
    clearInterval(this.ping)
    if (code === CLOSE_REMOVED) return this.end('removed')
    if (code === CLOSE_ENDED) return this.end('ended')
    // The same person opened the room in another tab: be somebody else here,
    // or the two tabs would throw each other out for ever.
    if (code === CLOSE_REPLACED) this.remember(null)
    this.opts.onLink('waiting')
    if (greeted) return this.later()
    // Browsers hide why a handshake was refused; HTTP tells.
    void this.opts.probe(this.opts.token).then((answer) => {
      if (this.closed) return
      if (answer === 'gone') this.end('not_found')
      else this.later()
    })
  }

  private later(): void {
    this.retry = setTimeout(() => this.connect(), this.backoff.next())
  }

  private end(ending: Ending): void {
    this.close()
    this.opts.onEnding(ending)
  }
}
