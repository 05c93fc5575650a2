// One CodeMirror view on one shared file.
import { closeBrackets, closeBracketsKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, indentLess, indentMore, insertTab } from '@codemirror/commands'
import { bracketMatching, foldGutter, indentOnInput, indentUnit } from '@codemirror/language'
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search'
import { Compartment, EditorSelection, EditorState, type Extension } from '@codemirror/state'
import {
  drawSelection, dropCursor, EditorView, highlightActiveLine, highlightActiveLineGutter,
  keymap, lineNumbers, rectangularSelection,
} from '@codemirror/view'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import type { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { t } from '../strings.ts'
import { grammarFor, indentFor } from './languages.ts'
import { look } from './look.ts'
import { remotePeople } from './remote.ts'

export interface EditorOptions {
  parent: HTMLElement
  text: Y.Text
  path: string
  awareness: Awareness
  /** This person's own undo history of the file; it outlives the view. */
  undo: Y.UndoManager
  readOnly: boolean
  /** What others have to say of the text. */
  extra?: Extension
}

/** How long after Escape the Tab key moves the focus. */
const TAB_FREE_MS = 2_000

export class FileEditor {
  private readonly view: EditorView
  private readonly grammar = new Compartment()
  private readonly named = new Compartment()
  private readonly access = new Compartment()
  private gone = false

  constructor({ parent, text, path, awareness, undo, readOnly, extra = [] }: EditorOptions) {
    this.view = new EditorView({
      parent,
      state: EditorState.create({
        doc: text.toString(),
        extensions: [
          lineNumbers(), foldGutter(), drawSelection(), dropCursor(), rectangularSelection(),
          highlightActiveLine(), highlightActiveLineGutter(), highlightSelectionMatches(),
          indentOnInput(), bracketMatching(), closeBrackets(),
          EditorState.allowMultipleSelections.of(true),
          EditorState.tabSize.of(4),
          keymap.of([
            // Escape and then Tab leaves the editor, whatever else Escape does.
            { key: 'Escape', run: (view) => { view.setTabFocusMode(TAB_FREE_MS); return false } },
            ...closeBracketsKeymap, ...yUndoManagerKeymap, ...searchKeymap,
            { key: 'Tab', run: (view) => (view.state.selection.ranges.some((r) => !r.empty) ? indentMore(view) : this.tab(view)), shift: indentLess },
            ...defaultKeymap.filter((binding) => binding.key !== 'Mod-Enter'),
          ]),
          // Undo is this person's: it takes back nobody else's text.
          yCollab(text, null, { undoManager: undo }),
          remotePeople(text, awareness),
          this.grammar.of([]),
          this.named.of(naming(path)),
          this.access.of(accessTo(readOnly)),
          extra,
          look,
        ],
      }),
    })
    void this.loadGrammar(path)
  }

  setPath(path: string): void {
    this.view.dispatch({ effects: this.named.reconfigure(naming(path)) })
    void this.loadGrammar(path)
  }

  setReadOnly(readOnly: boolean): void {
    this.view.dispatch({ effects: this.access.reconfigure(accessTo(readOnly)) })
  }

  focus(): void {
    this.view.focus()
  }

  /** Scrolls a place of the text into sight. */
  reveal(at: number): void {
    this.view.dispatch({ effects: EditorView.scrollIntoView(Math.min(at, this.view.state.doc.length), { y: 'nearest', yMargin: 60 }) })
  }

  /** Where this person's cursor is. */
  get cursor(): number {
    return this.view.state.selection.main.head
  }

  /** Puts the cursor at a place, in the middle of the view. */
  goTo(at: number): void {
    const head = Math.min(at, this.view.state.doc.length)
    this.view.dispatch({ selection: EditorSelection.cursor(head), effects: EditorView.scrollIntoView(head, { y: 'center' }) })
  }

  destroy(): void {
    this.gone = true
    this.view.destroy()
  }

  /** Spaces up to the next stop where the language indents by spaces. */
  private tab(view: EditorView): boolean {
    const unit = view.state.facet(indentUnit)
    if (unit === '\t') return insertTab(view)
    view.dispatch(view.state.update(view.state.changeByRange((range) => {
      const column = range.head - view.state.doc.lineAt(range.head).from
      const spaces = ' '.repeat(unit.length - (column % unit.length))
      return { changes: { from: range.head, insert: spaces }, range: EditorSelection.cursor(range.head + spaces.length) }
    }), { scrollIntoView: true, userEvent: 'input' }))
    return true
  }

  private async loadGrammar(path: string): Promise<void> {
    const grammar = await grammarFor(path).catch((): Extension => [])
    if (!this.gone) this.view.dispatch({ effects: this.grammar.reconfigure(grammar) })
  }
}

const naming = (path: string): Extension => [
  EditorView.contentAttributes.of({ 'aria-label': t.editorLabel(path) }),
  indentUnit.of(indentFor(path)),
]

/** Read-only text can still be focused, selected and copied. */
const accessTo = (readOnly: boolean): Extension => [
  EditorState.readOnly.of(readOnly),
  EditorView.contentAttributes.of({ 'aria-readonly': String(readOnly), tabindex: '0' }),
]
