// Where a person is in a file: kept as relative positions, so that what others
// type meanwhile moves it along.
import { EditorView } from '@codemirror/view'
import * as Y from 'yjs'

export interface Place {
  anchor: Y.RelativePosition
  head: Y.RelativePosition
  /** The topmost line in sight, and how far it is scrolled out. */
  top: Y.RelativePosition
  offset: number
}

export interface Restored {
  selection: { anchor: number; head: number }
  scrollTo: ReturnType<typeof EditorView.scrollIntoView>
}

/** scrolled is how far down the view is: a view that leaves the page no longer knows. */
export function placeOf(view: EditorView, text: Y.Text, scrolled: number): Place {
  const at = (index: number): Y.RelativePosition => Y.createRelativePositionFromTypeIndex(text, Math.min(index, text.length))
  const { anchor, head } = view.state.selection.main
  const line = view.lineBlockAtHeight(Math.max(0, scrolled - view.documentPadding.top))
  return { anchor: at(anchor), head: at(head), top: at(line.from), offset: scrolled - line.top - view.documentPadding.top }
}

export function restored(place: Place, text: Y.Text): Restored | null {
  if (text.doc === null) return null
  const doc = text.doc
  const index = (position: Y.RelativePosition): number => Y.createAbsolutePositionFromRelativePosition(position, doc)?.index ?? 0
  return {
    selection: { anchor: index(place.anchor), head: index(place.head) },
    scrollTo: EditorView.scrollIntoView(index(place.top), { y: 'start', yMargin: -place.offset }),
  }
}
