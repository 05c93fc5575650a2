// The document as this browser keeps it, for when the server is not there.
import type { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'
import type { DocSession } from './session.ts'

const UNSAVED = 'unsaved'
/** How long edits are gathered, as a transaction for each costs more than the edit: others', which the server has, and this person's. */
const THEIRS_MS = 1_000
const OWN_MS = 50
const nameOf = (room: string): string => `corun.doc.${room}`

export class OfflineCopy {
  private copy: IndexeddbPersistence | null = null
  private started = false
  private over = false

  constructor(private readonly room: string, private readonly doc: DocSession) {}

  /** Reads what is kept and keeps what changes; once. */
  start(): void {
    if (this.started || this.over || typeof indexedDB === 'undefined') return
    this.started = true
    this.attach().catch(() => {}) // the browser keeps nothing
  }

  private async attach(): Promise<void> {
    const { IndexeddbPersistence } = await import('y-indexeddb')
    if (this.over) return
    const copy = new IndexeddbPersistence(nameOf(this.room), this.doc.doc)
    this.copy = copy
    this.doc.copy = copy
    this.gather(copy)
    copy.on('synced', () => {
      // A browser that was closed with edits on their way must not call them saved.
      void copy.get(UNSAVED).then((unsaved: unknown) => {
        this.doc.restored(unsaved === true)
        this.doc.save.subscribe((save) => {
          if (!this.over) copy.set(UNSAVED, (save !== 'saved') as unknown as number).catch(() => {}) // the page is being left
        })
      })
    })
  }

  /** Writes what this person types soon, with all that it may build on; what comes from others now and then. */
  private gather(copy: IndexeddbPersistence): void {
    const { doc, provider } = this.doc
    const waiting: Uint8Array[] = []
    let timer: ReturnType<typeof setTimeout> | undefined
    let due = Infinity
    const write = (): void => {
      clearTimeout(timer)
      due = Infinity
      if (waiting.length > 0 && !this.over) copy._storeUpdate(Y.mergeUpdates(waiting.splice(0)), null)
    }
    doc.off('update', copy._storeUpdate)
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === copy || this.over) return
      waiting.push(update)
      const wait = origin === provider ? THEIRS_MS : OWN_MS
      if (performance.now() + wait >= due) return
      due = performance.now() + wait
      clearTimeout(timer)
      timer = setTimeout(write, wait)
    })
    addEventListener('pagehide', write)
  }

  /** Deletes what is kept, and keeps nothing more. */
  async forget(): Promise<void> {
    this.over = true
    const copy = this.copy
    this.copy = null
    try {
      const { clearDocument } = await import('y-indexeddb')
      await copy?.destroy()
      await clearDocument(nameOf(this.room))
    } catch {
      // The browser keeps nothing.
    }
  }
}
