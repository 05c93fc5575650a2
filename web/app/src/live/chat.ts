// What the page knows of a room's chat: the messages, which of them nobody has
// looked at here, and the draft. No socket, no DOM.
import { signal } from '@preact/signals'
import type { Participant } from './messages.ts'

/** What a message points to: a run, or a line of a file. */
export interface ChatLink {
  run?: number
  /** A file's id. */
  file?: string
  /** From 1, as it was when the message was sent. */
  line?: number
  /** Where the line is now: a relative position of Yjs in base64. */
  anchor?: string
}

export interface ChatMessage {
  id: string
  /** RFC 3339. */
  at: string
  by: Participant
  text: string
  links: ChatLink[]
}

export type ChatServerMessage =
  | { type: 'chat'; message: ChatMessage; ref?: unknown }
  | { type: 'chat.removed'; id: string; by: string }

export type ChatClientMessage =
  | { type: 'chat'; text: string; links: ChatLink[]; ref: string }
  | { type: 'chat.remove'; id: string }

/** The server's limits: of a text in bytes of UTF-8, and of links. */
export const MAX_TEXT_BYTES = 4_000
export const MAX_LINKS = 8
/** From so many bytes left on they are counted. */
export const COUNT_FROM_BYTES = 400

/** How many bytes a draft may still grow by; negative when it is too long. */
export const bytesLeft = (text: string): number => MAX_TEXT_BYTES - new TextEncoder().encode(text.trim()).length

/** The server and this page keep so many messages. */
const MOST = 1_000

export class Chat {
  readonly messages = signal<readonly ChatMessage[]>([])
  readonly unread = signal(0)
  readonly draft = signal('')
  readonly links = signal<readonly ChatLink[]>([])
  /** Why the draft was not sent, in words, or ''. */
  readonly problem = signal('')
  readonly sending = signal(false)
  private ref = ''
  private sent = 0
  private known: ReadonlySet<string> | null = null

  /** post gives a message to the server; false says that there is no connection. */
  constructor(private readonly post: (msg: ChatClientMessage) => boolean, private readonly offline: string) {}

  send(): void {
    const text = this.draft.value.trim()
    if (text === '' || bytesLeft(text) < 0 || this.sending.value) return
    this.ref = `chat-${++this.sent}`
    this.sending.value = this.post({ type: 'chat', text, links: [...this.links.value], ref: this.ref })
    this.problem.value = this.sending.value ? '' : this.offline
  }

  remove(id: string): void {
    this.post({ type: 'chat.remove', id })
  }

  link(link: ChatLink): void {
    const same = (other: ChatLink): boolean => other.run === link.run && other.file === link.file && other.line === link.line
    if (this.links.value.length < MAX_LINKS && !this.links.value.some(same)) this.links.value = [...this.links.value, link]
  }

  unlink(link: ChatLink): void {
    this.links.value = this.links.value.filter((other) => other !== link)
  }

  read(): void {
    this.unread.value = 0
  }

  /** All that the server has; what came while this page was away counts as unread. */
  restore(messages: readonly ChatMessage[], me: string, open: boolean): void {
    const { known } = this
    if (known !== null && !open) this.unread.value += messages.filter((m) => !known.has(m.id) && m.by.id !== me).length
    this.messages.value = messages
    this.know()
    // What was on its way when the connection broke either is among them or was lost.
    if (this.sending.value) {
      const arrived = messages.some((m) => known?.has(m.id) !== true && m.by.id === me && m.text === this.draft.value.trim())
      this.settle(arrived)
    }
  }

  add(message: ChatMessage, ref: unknown, me: string, open: boolean): void {
    this.messages.value = [...this.messages.value, message].slice(-MOST)
    this.know()
    if (!open && message.by.id !== me) this.unread.value++
    if (ref === this.ref && this.sending.value) this.settle(true)
  }

  removed(id: string): void {
    this.messages.value = this.messages.value.filter((m) => m.id !== id)
  }

  /** Takes a refusal of what was sent; false when it is of something else. */
  refused(ref: unknown, words: string): boolean {
    if (ref !== this.ref || !this.sending.value) return false
    this.sending.value = false
    this.problem.value = words
    return true
  }

  private settle(arrived: boolean): void {
    this.sending.value = false
    if (!arrived) return
    this.draft.value = ''
    this.links.value = []
    this.problem.value = ''
  }

  private know(): void {
    this.known = new Set(this.messages.value.map((m) => m.id))
  }
}
