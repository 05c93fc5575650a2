// The document as this browser keeps it, for when the server is not there.
import type { IndexeddbPersistence } from 'y-indexeddb'
import type { DocSession } from './session.ts'

const UNSAVED = 'unsaved'
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
