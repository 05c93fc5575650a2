// Where the lines of a text begin, so that each is found again after whatever edits: also
// where several lines read the same, which a comparison of texts cannot tell apart.
import * as Y from 'yjs'
import { textOf } from '../doc/files.ts'

export interface Anchors {
  /** The text whose lines these are. */
  text: string
  /** The first character of each line, as the document knows it. */
  starts: Y.ID[]
}

/** Longer texts are left to a comparison. */
const MOST_LINES = 20_000

export function anchorLines(doc: Y.Doc, file: string): Anchors {
  const text = textOf(doc, file)
  const starts: Y.ID[] = []
  let begins = true
  for (let item = text._start; item !== null && starts.length < MOST_LINES; item = item.right) {
    if (item.deleted || !(item.content instanceof Y.ContentString)) continue
    const { str } = item.content
    for (let at = 0; at < str.length; at++) {
      if (begins) starts.push(Y.createID(item.id.client, item.id.clock + at))
      begins = str[at] === '\n'
    }
  }
  return { text: text.toString(), starts }
}

/** The line on which a line's first character is now, from 0; one that is gone is where it was. */
export function anchoredLine(doc: Y.Doc, file: string, { starts }: Anchors, line: number): number | null {
  const start = starts[line]
  if (start === undefined) return null
  const place = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON({ item: start, tname: `file/${file}`, assoc: 0 }), doc)
  if (place === null) return null
  return textOf(doc, file).toString().slice(0, place.index).split('\n').length - 1
}
