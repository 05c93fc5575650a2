// The way to a place in a file, whoever leads there: the editor that is open is asked
// when it shows that file, and otherwise as soon as it does.
import * as Y from 'yjs'
import { textOf } from '../doc/files.ts'
import type { FileEditor, TextPlace } from '../editor/editor.ts'

export interface Spot {
  /** A file's id. */
  file: string
  /** Where in its text, or null for wherever its editor is. */
  at: TextPlace | null
}

/** How somebody comes there: with the cursor, and the focus too unless it shall stay where it is; or to look alone. */
export type Coming = 'focus' | 'cursor' | 'look'

export class Navigation {
  private editor: { file: string; view: FileEditor } | null = null
  private wanted: { spot: Spot; coming: Coming } | null = null

  /** open shows a file; its editor attaches itself then. */
  constructor(private readonly open: (file: string) => void) {}

  /** The editor of a file is there; the function given back takes it away. */
  attach(file: string, view: FileEditor): () => void {
    const here = { file, view }
    this.editor = here
    this.arrive()
    return () => { if (this.editor === here) this.editor = null }
  }

  /** Where this person is, or null when no file is open. */
  here(): { file: string; at: number } | null {
    return this.editor === null ? null : { file: this.editor.file, at: this.editor.view.cursor }
  }

  go(spot: Spot, coming: Coming): void {
    this.wanted = { spot, coming }
    this.open(spot.file)
    this.arrive()
  }

  focus(): void {
    this.editor?.view.focus()
  }

  private arrive(): void {
    if (this.wanted === null || this.editor?.file !== this.wanted.spot.file) return
    // On a narrow screen the editor is in sight only from the next frame on.
    requestAnimationFrame(() => {
      const { wanted, editor } = this
      if (wanted === null || editor === null || editor.file !== wanted.spot.file) return
      this.wanted = null
      const { spot: { at }, coming } = wanted
      if (at !== null) coming === 'look' ? editor.view.reveal(at) : editor.view.goTo(at)
      if (coming === 'focus') editor.view.focus()
    })
  }
}

/** Where a line of a text begins; the last line stands for those after it. */
export function lineStart(text: string, line: number): number {
  let at = 0
  for (let n = 1; n < line; n++) {
    const next = text.indexOf('\n', at)
    if (next < 0) break
    at = next + 1
  }
  return at
}

/** The number, from 1, of the line that a place is in. */
export const lineAt = (text: string, index: number): number => text.slice(0, index).split('\n').length

/** A place that stays with its text: a relative position in base64. */
export function anchorOf(text: Y.Text, index: number): string {
  const bytes = Y.encodeRelativePosition(Y.createRelativePositionFromTypeIndex(text, index))
  return btoa(String.fromCharCode(...bytes))
}

/** Where an anchor is now, or null when it is none of this text's. */
export function fromAnchor(doc: Y.Doc, file: string, anchor: string): number | null {
  // Asked for first: a text that nobody has looked at yet is only then made one.
  const text = textOf(doc, file)
  try {
    const bytes = Uint8Array.from(atob(anchor), (c) => c.charCodeAt(0))
    const place = Y.createAbsolutePositionFromRelativePosition(Y.decodeRelativePosition(bytes), doc)
    return place !== null && place.type === text ? place.index : null
  } catch {
    return null // not a position: a peer may send anything
  }
}
