// The undo history that a view has, for key maps that would take another one.
import { Facet } from '@codemirror/state'
import * as Y from 'yjs'
import { FORMATTED } from '../doc/formatted.ts'

export const undoHistory = Facet.define<Y.UndoManager, Y.UndoManager | undefined>({ combine: (all) => all[0] })

/** The history of what this page does to a text. The editor adds its own origin. */
export function historyOf(text: Y.Text): Y.UndoManager {
  const undo = new Y.UndoManager(text, { trackedOrigins: new Set([FORMATTED]) })
  // A step of its own: neither with what was typed just before nor with what comes after.
  const apart = (change: Y.Transaction): void => { if (change.origin === FORMATTED) undo.stopCapturing() }
  text.doc?.on('beforeTransaction', apart)
  text.doc?.on('afterTransactionCleanup', apart)
  return undo
}
