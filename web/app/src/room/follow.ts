// Following a person: the editor goes where they are, as they move.
import { effect, signal, type ReadonlySignal } from '@preact/signals'
import * as Y from 'yjs'
import { textOf } from '../doc/files.ts'
import type { DocSession } from '../doc/session.ts'
import type { Participant } from '../live/messages.ts'
import type { Spot } from './navigation.ts'

/** What the follower needs of the room. */
export interface FollowOptions {
  doc: DocSession
  people: () => readonly Participant[]
  openFile: ReadonlySignal<string>
  look(spot: Spot): void
}

export class Follow {
  /** The id of who is followed, or null. */
  readonly who = signal<string | null>(null)
  /** The file that was opened on their behalf: another one is the follower's own choice. */
  private opened = ''
  private readonly stopWatching: () => void
  private readonly moved = (): void => this.go()

  constructor(private readonly options: FollowOptions) {
    options.doc.provider.awareness.on('change', this.moved)
    this.stopWatching = effect(() => {
      const file = options.openFile.value
      const gone = this.who.value !== null && !options.people().some((p) => p.id === this.who.value)
      if (gone || (this.opened !== '' && file !== this.opened)) this.stop()
    })
  }

  start(id: string): void {
    this.opened = ''
    this.who.value = id
    this.go()
  }

  stop(): void {
    this.who.value = null
    this.opened = ''
  }

  destroy(): void {
    this.stopWatching()
    this.options.doc.provider.awareness.off('change', this.moved)
  }

  private go(): void {
    const id = this.who.peek()
    const spot = id === null ? null : this.spotOf(id)
    if (spot === null) return
    this.opened = spot.file
    this.options.look(spot)
  }

  /** Where somebody's cursor is; null while they have none. */
  private spotOf(id: string): Spot | null {
    const { doc, provider, files } = this.options.doc
    for (const state of provider.awareness.getStates().values()) {
      const user: unknown = state.user
      const cursor: unknown = state.cursor
      if (typeof user !== 'object' || user === null || !('id' in user) || user.id !== id) continue
      if (typeof cursor !== 'object' || cursor === null || !('head' in cursor)) continue
      try {
        const at = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(cursor.head), doc)
        const file = files.peek().find((f) => textOf(doc, f.id) === at?.type)
        if (at !== null && file !== undefined) return { file: file.id, at: at.index }
      } catch {
        // Not a position: a peer may send anything.
      }
    }
    return null
  }
}
