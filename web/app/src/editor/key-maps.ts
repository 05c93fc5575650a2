// Vim's and Emacs' keys, loaded when somebody wants them. Both come with an undo
// of CodeMirror's own history, which knows nothing of who typed what: here undo is
// the person's.
import type { Extension } from '@codemirror/state'
import type { EditorView } from '@codemirror/view'
import type { KeyMap } from './settings.ts'
import { undoHistory } from './undo.ts'

const undo = (view: EditorView): boolean => view.state.facet(undoHistory)?.undo() != null
const redo = (view: EditorView): boolean => view.state.facet(undoHistory)?.redo() != null

export async function keyMapOf(name: KeyMap): Promise<Extension> {
  switch (name) {
    case 'vim': return vimKeys()
    case 'emacs': return emacsKeys()
    case 'default': return []
  }
}

async function vimKeys(): Promise<Extension> {
  const [{ vim, CodeMirror, getCM }, { ViewPlugin }] = await Promise.all([import('@replit/codemirror-vim'), import('@codemirror/view')])
  CodeMirror.commands.undo = (cm) => { undo(cm.cm6) }
  CodeMirror.commands.redo = (cm) => { redo(cm.cm6) }
  // What is typed in one go in insert mode is one step, and each command is one.
  const steps = ViewPlugin.define((view) => {
    const cm = getCM(view)
    const cut = (): void => view.state.facet(undoHistory)?.stopCapturing()
    const done = (): void => { if (cm?.state.vim?.insertMode !== true) cut() }
    cm?.on('vim-mode-change', cut)
    cm?.on('vim-command-done', done)
    return {
      destroy() {
        cm?.off('vim-mode-change', cut)
        cm?.off('vim-command-done', done)
      },
    }
  })
  return [vim({ status: true }), steps]
}

async function emacsKeys(): Promise<Extension> {
  const { emacs, EmacsHandler } = await import('@replit/codemirror-emacs')
  EmacsHandler.bindKey('C-/|C-x u|S-C--|C-z', undo)
  EmacsHandler.bindKey('S-C-/|S-C-x u|C--|S-C-z', redo)
  return emacs()
}
