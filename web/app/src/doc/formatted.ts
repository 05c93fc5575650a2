// Puts a formatted text into a shared one: as the fewest changes, so that cursors and
// marks stay where they are, and beside what others have typed meanwhile.
import { ChangeSet, Text } from '@codemirror/state'
import type * as Y from 'yjs'

/** The origin of such an edit: a step of its own in a person's history. */
export const FORMATTED = { name: 'formatted' }

/** A range of the text before, and what stands there in the formatted one. */
export interface Hunk {
  from: number
  to: number
  insert: string
}

/** Gathers what happens to a text from now on. */
export class Since {
  private changes: ChangeSet
  private readonly observer = (event: Y.YTextEvent): void => {
    let at = 0
    let length = this.changes.newLength
    for (const part of event.delta) {
      if (part.retain !== undefined) at += part.retain
      const insert = typeof part.insert === 'string' ? part.insert : ''
      const deleted = part.delete ?? 0
      if (insert === '' && deleted === 0) continue
      this.changes = this.changes.compose(ChangeSet.of({ from: at, to: at + deleted, insert: textOf(insert) }, length))
      at += insert.length
      length = this.changes.newLength
    }
  }

  constructor(private readonly text: Y.Text) {
    this.changes = ChangeSet.empty(text.length)
    text.observe(this.observer)
  }

  /** Makes the hunks of the text as it was in the text as it is: one edit. */
  apply(hunks: readonly Hunk[]): void {
    const wanted = ChangeSet.of(hunks.map(({ from, to, insert }) => ({ from, to, insert: textOf(insert) })), this.changes.length)
    const edits: Hunk[] = []
    wanted.map(this.changes).iterChanges((from, to, _fromB, _toB, insert) => edits.push({ from, to, insert: insert.toString() }), true)
    this.text.doc?.transact(() => {
      // From the end, so that the places before stay right.
      for (const { from, to, insert } of edits.reverse()) {
        if (to > from) this.text.delete(from, to - from)
        if (insert !== '') this.text.insert(from, insert)
      }
    }, FORMATTED)
  }

  stop(): void {
    this.text.unobserve(this.observer)
  }
}

const textOf = (text: string): Text => Text.of(text.split('\n'))

/** The fewest changes, or nearly, that make one text of another. */
export async function hunksOf(before: string, after: string): Promise<Hunk[]> {
  const { diff } = await import('@codemirror/merge')
  return diff(before, after, { scanLimit: 2_000, timeout: 300 }).map(({ fromA, toA, fromB, toB }) => ({
    from: fromA, to: toA, insert: after.slice(fromB, toB),
  }))
}
