// The tests of a room: run them, and see what became of each.
import { useState } from 'preact/hooks'
import { isWhole, type SeenCase, type TestResult } from '../live/tests.ts'
import type { RoomSession } from '../room/session.ts'
import { duration, t, testVerdict } from '../strings.ts'
import { PlayIcon } from '../ui/icons.tsx'
import { TestDetails } from './test-details.tsx'
import { TestsEditor } from './tests-editor.tsx'

export function TestsPanel({ session }: { session: RoomSession }) {
  const [editing, setEditing] = useState(false)
  const { tests } = session
  const cases = rows(tests.cases.value, tests.results.value)
  const running = session.active.value && session.state.value.run?.mode === 'tests'
  return (
    <div class="tests-panel">
      <div class="tests-bar">
        <button
          type="button" class="primary small" data-testid="run-tests" data-first
          disabled={tests.cases.value.length === 0 || session.active.value || !session.mayRun.value || !session.online.value} onClick={() => session.runTests()}
        >
          <PlayIcon />{t.tests.run}
        </button>
        {session.isHost.value && <button type="button" class="secondary small" data-testid="edit-tests" onClick={() => setEditing(true)}>{t.tests.edit}</button>}
      </div>
      <Summary session={session} running={running} />
      <p class="problem tests-problem" role="alert">{tests.problem.value}</p>
      {cases.length === 0
        ? <p class="pane-message">{session.isHost.value ? t.tests.noneHost : t.tests.none}</p>
        : <Results cases={cases} results={tests.results.value} running={running} />}
      {editing && <TestsEditor session={session} onClose={() => setEditing(false)} />}
    </div>
  )
}

/** The cases there are, and those that the last run had and that are gone. */
function rows(cases: readonly SeenCase[], results: ReadonlyMap<string, TestResult>): SeenCase[] {
  const gone = [...results.values()].filter((result) => !cases.some((c) => c.id === result.id))
  return [...cases, ...gone.map(({ id, name, hidden, points, max_points }) => ({ id, name, hidden, points: max_points ?? points }))]
}

function Summary({ session, running }: { session: RoomSession; running: boolean }) {
  const { run, summary } = session.tests
  const s = summary.value
  const words = s === null || run.value === 0 ? t.tests.notRun : t.tests.summary(s)
  return (
    <p class="tests-summary" data-testid="tests-summary" data-passed={s?.passed ?? 0} data-total={s?.total ?? 0}>
      <b>{words}</b>
      {run.value > 0 && <small>{running ? t.tests.running(run.value) : t.chat.run(run.value)}</small>}
    </p>
  )
}

interface ResultsProps {
  cases: SeenCase[]
  results: ReadonlyMap<string, TestResult>
  running: boolean
}

function Results({ cases, results, running }: ResultsProps) {
  const [open, setOpen] = useState<string | null>(null)
  return (
    <div class="tests-list" tabIndex={0} role="region" aria-label={t.tests.results}>
      <table class="tests-table" data-testid="tests-table">
        <caption class="sr-only">{t.tests.results}</caption>
        <thead>
          <tr><th scope="col">{t.tests.name}</th><th scope="col">{t.tests.result}</th><th scope="col" class="number">{t.tests.points}</th></tr>
        </thead>
        {cases.map((c) => (
          <Row
            key={c.id} of={c} result={results.get(c.id)} running={running} open={open === c.id}
            toggle={() => setOpen(open === c.id ? null : c.id)}
          />
        ))}
      </table>
    </div>
  )
}

interface RowProps {
  of: SeenCase
  result: TestResult | undefined
  running: boolean
  open: boolean
  toggle(): void
}

function Row({ of, result, running, open, toggle }: RowProps) {
  const state = result === undefined ? (running ? 'waiting' : 'none') : result.passed ? 'passed' : 'failed'
  const words = result === undefined ? (running ? t.tests.waiting : t.tests.notRunYet) : testVerdict(result)
  // Of a hidden case a guest has nothing to unfold.
  const more = isWhole(of) || result?.verdict !== undefined
  const id = `test-${of.id}`
  return (
    <tbody data-testid="test-row" data-case={of.id} data-state={state}>
      <tr>
        <th scope="row">
          {more
            ? <button type="button" class="text test-name" aria-expanded={open} aria-controls={id} onClick={toggle}>{of.name}</button>
            : <span class="test-name">{of.name}</span>}
          {of.hidden && <small class="test-hidden">{t.tests.hidden}</small>}
        </th>
        <td class={`test-state ${state}`}>
          <span aria-hidden="true">{state === 'passed' ? '✓' : state === 'failed' ? '✗' : '·'}</span> {words}
          {result?.usage !== undefined && <small>{duration(result.usage.wall_ms)}</small>}
        </td>
        <td class="number">{result === undefined ? t.tests.outOf(of.points) : t.tests.pointsOf(result.points, result.max_points ?? of.points)}</td>
      </tr>
      {open && more && <tr id={id}><td colSpan={3}><TestDetails of={isWhole(of) ? of : null} result={result} /></td></tr>}
    </tbody>
  )
}
