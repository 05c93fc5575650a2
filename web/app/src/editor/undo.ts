// The undo history that a view has, for key maps that would take another one.
import { Facet } from '@codemirror/state'
import type * as Y from 'yjs'

export const undoHistory = Facet.define<Y.UndoManager, Y.UndoManager | undefined>({ combine: (all) => all[0] })
