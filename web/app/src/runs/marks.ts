// The shown run in the editor: a calm bar beside lines that have changed since, and what
// the compiler said.
import { effect } from '@preact/signals'
import { RangeSet, StateEffect, StateField, type Extension, type Range, type Text } from '@codemirror/state'
import { gutter, GutterMarker, keymap, ViewPlugin, type EditorView } from '@codemirror/view'
import { t } from '../strings.ts'
import type { Change } from './lines.ts'
import type { Problem } from './places.ts'
import type { RunView } from './view.ts'

type Mark = Change | 'problem'

class LineMarker extends GutterMarker {
  constructor(private readonly kind: Mark, private readonly words: () => string) {
    super()
    this.elementClass = `line-mark line-mark-${kind}`
  }

  override eq(other: LineMarker): boolean {
    return other.kind === this.kind
  }

  override toDOM(): Node {
    const mark = document.createElement('span')
    mark.title = this.words()
    return mark
  }
}

const markers: Record<Mark, LineMarker> = {
  changed: new LineMarker('changed', () => t.runs.lineChanged),
  removed: new LineMarker('removed', () => t.runs.linesRemoved),
  problem: new LineMarker('problem', () => t.runs.problemHere),
}

/** Marks by line, from 0; they move with the text until they are set again. */
function lineMarks() {
  const set = StateEffect.define<Map<number, Mark>>()
  const field = StateField.define<RangeSet<GutterMarker>>({
    create: () => RangeSet.empty,
    update(value, change) {
      let next = value.map(change.changes)
      for (const effect of change.effects) {
        if (!effect.is(set)) continue
        const ranges: Range<GutterMarker>[] = []
        for (const [line, kind] of effect.value) {
          if (line < change.state.doc.lines) ranges.push(markers[kind].range(change.state.doc.line(line + 1).from))
        }
        next = RangeSet.of(ranges, true)
      }
      return next
    },
  })
  return { set, field }
}

const changes = lineMarks()
const faults = lineMarks()

/** The list of what the compiler said, through which arrow keys lead; Escape closes it. */
const problemKeys = keymap.of([{
  key: 'F8',
  run: (view) => {
    if (!view.dom.hasAttribute('data-problems')) return false
    import('@codemirror/lint').then(({ openLintPanel }) => openLintPanel(view), () => undefined)
    return true
  },
}])

/** What an editor of a file shows of the run. */
export function runInEditor(runs: RunView, file: string): Extension {
  const follow = ViewPlugin.define((view) => {
    let gone = false
    // Not while a view is being made or updated: it takes no transaction then.
    const soon = (fn: () => void): void => { queueMicrotask(() => { if (!gone) fn() }) }
    const stops = [
      effect(() => {
        void runs.code.version.value
        soon(() => view.dispatch({ effects: changes.set.of(runs.code.marks(file)) }))
      }),
      effect(() => {
        const problems = runs.problems.value.get(file) ?? []
        soon(() => void showProblems(view, problems, () => gone))
      }),
    ]
    return { destroy: () => { gone = true; for (const stop of stops) stop() } }
  })
  return [
    changes.field, faults.field, problemKeys, follow,
    gutter({ class: 'cm-run-marks', markers: (view) => [view.state.field(changes.field), view.state.field(faults.field)] }),
  ]
}

async function showProblems(view: EditorView, problems: readonly Problem[], gone: () => boolean): Promise<void> {
  if (problems.length === 0 && !view.dom.hasAttribute('data-problems')) return
  // Without a connection they are not marked: the terminal has them all the same.
  const loaded = await import('@codemirror/lint').catch(() => null)
  if (loaded === null || gone()) return
  const { setDiagnostics } = loaded
  if (problems.length > 0) view.dom.setAttribute('data-problems', String(problems.length))
  else view.dom.removeAttribute('data-problems')
  const { doc } = view.state
  const wrong = problems.filter((p) => p.severity !== 'info')
  view.dispatch({ effects: faults.set.of(new Map(wrong.map(({ line }) => [Math.min(line, doc.lines) - 1, 'problem']))) })
  view.dispatch(setDiagnostics(view.state, problems.map(({ line, column, severity, message }) => ({
    ...rangeOf(doc, line, column), severity, message,
  }))))
}

/** The word at a place, or the line where no column is known; never nothing, which could not be seen. */
function rangeOf(doc: Text, line: number, column: number): { from: number; to: number } {
  const at = doc.line(Math.max(1, Math.min(line, doc.lines)))
  if (column === 0) return { from: at.from + (/^\s*/.exec(at.text)?.[0].length ?? 0), to: at.to }
  const from = at.from + Math.max(0, Math.min(column - 1, at.length - 1))
  const word = /^\w+/.exec(doc.sliceString(from, at.to))?.[0].length ?? 0
  return { from, to: Math.min(at.to, from + Math.max(1, word)) }
}
