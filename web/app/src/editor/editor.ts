// One CodeMirror view on one shared file.
import { defaultKeymap, indentLess, indentMore, insertTab } from '@codemirror/commands'
import { bracketMatching, foldGutter, indentOnInput, indentUnit } from '@codemirror/language'
import { Compartment, EditorSelection, EditorState, Prec, type Extension } from '@codemirror/state'
import {
  drawSelection, dropCursor, EditorView, highlightActiveLine, highlightActiveLineGutter,
  keymap, lineNumbers, rectangularSelection,
} from '@codemirror/view'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import type { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { t } from '../strings.ts'
import { keyMapOf } from './key-maps.ts'
import { bracketsClosed, grammarFor, indentFor } from './languages.ts'
import { look } from './look.ts'
import { placeOf, restored, type Place } from './place.ts'
import { remotePeople } from './remote.ts'
import { searchLater } from './search.ts'
import { settings, type EditorSettings, type KeyMap } from './settings.ts'
import { undoHistory } from './undo.ts'

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
  /** Where this person was in the file before. */
  place?: Place | undefined
}

/** A place in a text: an index, or as compilers name it: from 1, with column 0 where none is known. */
export type TextPlace = number | { line: number; column: number }

/** How long after Escape the Tab key moves the focus. */
const TAB_FREE_MS = 2_000

export class FileEditor {
  private readonly view: EditorView
  private readonly grammar = new Compartment()
  private readonly brackets = new Compartment()
  private readonly named = new Compartment()
  private readonly access = new Compartment()
  private readonly keys = new Compartment()
  private readonly liking = new Compartment()
  private keyMap: KeyMap = 'default'
  private scrolled = 0
  private gone = false

  constructor(private readonly options: EditorOptions) {
    const { parent, text, path, awareness, undo, readOnly, place, extra = [] } = options
    const before = place === undefined ? null : restored(place, text)
    this.view = new EditorView({
      parent,
      ...(before === null ? {} : { scrollTo: before.scrollTo }),
      state: EditorState.create({
        doc: text.toString(),
        ...(before === null ? {} : { selection: before.selection }),
        extensions: [
          // Escape and then Tab leaves the editor, whatever else Escape does.
          Prec.highest(EditorView.domEventHandlers({
            keydown: (event, view) => {
              if (event.key === 'Escape') view.setTabFocusMode(TAB_FREE_MS)
              return false
            },
          })),
          this.keys.of([]), // before the other keys, which it changes
          lineNumbers(), foldGutter(), drawSelection(), dropCursor(), rectangularSelection(),
          highlightActiveLine(), highlightActiveLineGutter(),
          indentOnInput(), bracketMatching(), this.brackets.of([]), searchLater(),
          EditorState.allowMultipleSelections.of(true),
          keymap.of([
            ...yUndoManagerKeymap,
            { key: 'Tab', run: (view) => (view.state.selection.ranges.some((r) => !r.empty) ? indentMore(view) : this.tab(view)), shift: indentLess },
            ...defaultKeymap.filter((binding) => binding.key !== 'Mod-Enter'),
          ]),
          // Undo is this person's: it takes back nobody else's text.
          yCollab(text, null, { undoManager: undo }),
          undoHistory.of(undo),
          remotePeople(text, awareness),
          this.grammar.of([]),
          this.named.of(naming(path)),
          this.liking.of(likingOf(settings.peek(), path)),
          this.access.of(accessTo(readOnly)),
          extra,
          look,
        ],
      }),
    })
    this.view.scrollDOM.addEventListener('scroll', () => { if (!this.gone) this.scrolled = this.view.scrollDOM.scrollTop }, { passive: true })
    void this.loadGrammar(path)
    void bracketsClosed().then((brackets) => { if (!this.gone) this.view.dispatch({ effects: this.brackets.reconfigure(brackets) }) }, () => undefined)
  }

  /** Where this person is now, for when the file is shown again. */
  get place(): Place {
    return placeOf(this.view, this.options.text, this.scrolled)
  }

  setSettings(next: EditorSettings, path: string): void {
    this.view.dispatch({ effects: this.liking.reconfigure(likingOf(next, path)) })
    this.view.requestMeasure()
    if (next.keyMap === this.keyMap) return
    this.keyMap = next.keyMap
    void keyMapOf(next.keyMap).then((keys) => {
      if (!this.gone && this.keyMap === next.keyMap) this.view.dispatch({ effects: this.keys.reconfigure(keys) })
    })
  }

  setPath(path: string): void {
    this.view.dispatch({ effects: [this.named.reconfigure(naming(path)), this.liking.reconfigure(likingOf(settings.peek(), path))] })
    void this.loadGrammar(path)
  }

  setReadOnly(readOnly: boolean): void {
    this.view.dispatch({ effects: this.access.reconfigure(accessTo(readOnly)) })
  }

  focus(): void {
    this.view.focus()
  }

  /** Scrolls a place of the text into sight. */
  reveal(at: TextPlace): void {
    this.view.dispatch({ effects: EditorView.scrollIntoView(this.indexOf(at), { y: 'nearest', yMargin: 60 }) })
  }

  /** Where this person's cursor is. */
  get cursor(): number {
    return this.view.state.selection.main.head
  }

  /** Puts the cursor at a place, in the middle of the view. */
  goTo(at: TextPlace): void {
    const head = this.indexOf(at)
    this.view.dispatch({ selection: EditorSelection.cursor(head), effects: EditorView.scrollIntoView(head, { y: 'center' }) })
  }

  destroy(): void {
    this.gone = true
    this.view.destroy()
  }

  /** The nearest there is to a place: the text may have become shorter. */
  private indexOf(at: TextPlace): number {
    const { doc } = this.view.state
    if (typeof at === 'number') return Math.min(at, doc.length)
    const line = doc.line(Math.max(1, Math.min(at.line, doc.lines)))
    return Math.min(line.to, line.from + Math.max(0, at.column - 1))
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
  EditorState.phrases.of(t.phrases),
]

const likingOf = ({ fontSize, tabSize, wrap }: EditorSettings, path: string): Extension => {
  const usual = indentFor(path)
  return [
    EditorState.tabSize.of(tabSize === 0 ? 4 : tabSize),
    indentUnit.of(tabSize === 0 || usual === '\t' ? usual : ' '.repeat(tabSize)),
    wrap ? EditorView.lineWrapping : [],
    fontSize === 0 ? [] : EditorView.theme({ '&': { fontSize: `${fontSize}px` } }),
  ]
}

/** Read-only text can still be focused, selected and copied. */
const accessTo = (readOnly: boolean): Extension => [
  EditorState.readOnly.of(readOnly),
  EditorView.contentAttributes.of({ 'aria-readonly': String(readOnly), tabindex: '0' }),
]
