// The shared document's side of an open room: the Y.Doc, the stock provider
// that keeps it in step, and signals of what the page shows of it.
import { batch, signal } from '@preact/signals'
import * as decoding from 'lib0/decoding'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { listFiles, roomMeta, type FileEntry, type RoomMeta } from './files.ts'
import { covers } from './vector.ts'

/** Where the last edit is: in this page alone, on its way through the server, or stored. */
export type SaveState = 'local' | 'sent' | 'saved'

const AUTH_MESSAGE = 2
/** The room was deleted and made again: this document is the old one's. */
const CLOSE_PAST_DOCUMENT = 4409

export class DocSession {
  readonly doc = new Y.Doc()
  readonly provider: WebsocketProvider
  readonly files = signal<FileEntry[]>([])
  readonly meta = signal<RoomMeta>({ language: '', entry: '', title: '' })
  /** True from the first complete sync on. */
  readonly loaded = signal(false)
  readonly connected = signal(false)
  readonly save = signal<SaveState>('saved')
  /** The server's reason for not taking an edit, or ''. */
  readonly refused = signal('')
  readonly outdated = signal(false)
  /** The origin of changes that come from what this browser keeps. */
  copy: unknown = null
  private asking: ReturnType<typeof setTimeout> | undefined

  /** session is what the page gives on /live as well; askSaved is called when an edit has not been reported as saved for a while. */
  constructor(serverUrl: string, room: string, token: string, private readonly session: string, private readonly askSaved: () => void) {
    this.provider = new WebsocketProvider(serverUrl, room, this.doc, {
      params: token === '' ? { session } : { token, session },
      // Another tab may hold another role; edits go by the server alone, which
      // saves them before it shows them.
      disableBc: true,
      // Which ends are final is /live's to say: a token that was replaced
      // closes this socket too, and the way back is the new token.
      shouldReconnect: () => true,
    })
    this.provider.on('status', ({ status }) => {
      this.connected.value = status === 'connected'
      if (this.save.value !== 'saved') this.save.value = this.reach()
    })
    this.provider.on('sync', (synced) => {
      if (synced) this.loaded.value = true
      if (this.save.value !== 'saved') this.save.value = this.reach() // the provider has sent all that was missing
    })
    this.provider.on('connection-close', (event) => { if (event?.code === CLOSE_PAST_DOCUMENT) this.outdated.value = true })
    this.provider.messageHandlers[AUTH_MESSAGE] = (_encoder, decoder) => {
      decoding.readVarUint(decoder) // the only kind there is: permission denied
      this.refused.value = decoding.readVarString(decoder)
    }
    const read = (): void => batch(() => {
      this.files.value = listFiles(this.doc)
      this.meta.value = roomMeta(this.doc)
    })
    this.doc.getMap('files').observe(read)
    this.doc.getMap('room').observe(read)
    this.doc.on('update', (_update: Uint8Array, origin: unknown) => {
      if (origin !== this.provider && origin !== this.copy) this.edited()
    })
  }

  setToken(token: string): void {
    this.provider.params = { token, session: this.session }
    this.provider.disconnect()
    this.provider.connect()
  }

  /** Stops asking for a document that is not to be had yet; resume goes on. */
  pause(): void {
    this.provider.disconnect()
  }

  resume(): void {
    this.provider.connect()
  }

  /** Takes the server's word for what its store has. */
  saved(stateVector: Uint8Array): void {
    // What has not left this page is not in the store, though a deletion may look so.
    if (this.save.value === 'sent' && covers(stateVector, Y.encodeStateVector(this.doc))) this.settled()
  }

  /** After a reconnect the server says again what it has. */
  recheck(): void {
    if (this.save.value !== 'saved') this.askSaved()
  }

  /** What this browser kept is in the document; unsaved is whether some of it was not stored. */
  restored(unsaved: boolean): void {
    if (this.files.value.length > 0) this.loaded.value = true
    if (unsaved) this.edited()
  }

  close(): void {
    clearTimeout(this.asking)
    this.provider.destroy()
    this.doc.destroy()
  }

  private edited(): void {
    // Deletions do not show in a state vector: they count as saved with the
    // first report after them.
    this.save.value = this.reach()
    this.ask()
  }

  /** How far an edit gets by itself: an open socket that has synced takes it along. */
  private reach(): SaveState {
    return this.provider.wsconnected && this.provider.synced ? 'sent' : 'local'
  }

  private ask(): void {
    clearTimeout(this.asking)
    this.asking = setTimeout(() => {
      if (this.save.value === 'saved') return
      this.askSaved()
      this.ask()
    }, 1_000)
  }

  private settled(): void {
    clearTimeout(this.asking)
    this.save.value = 'saved'
  }
}
