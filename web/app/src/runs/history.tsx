// The runs of a room: who ran what, when, and what became of it. One that is chosen
// shows its output again, the code as it was, and what has changed in it since.
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Run } from '../live/messages.ts'
import { Ended } from '../room/verdict-line.tsx'
import type { RoomSession } from '../room/session.ts'
import { languageName } from '../start/language-picker.tsx'
import { dateTime, t, timeOfDay, verdict } from '../strings.ts'
import { PlayIcon } from '../ui/icons.tsx'
import { CodeThen, CodeChanges } from './history-code.tsx'
import { OutputAgain } from './history-output.tsx'
import { moveBetween } from './terminal-bar.tsx'

export interface HistoryProps {
  session: RoomSession
  /** The number of the run that is chosen at first; the last where there is none of it. */
  shown: number
  onClose(): void
}

/** How many runs the server lists. */
const LISTED = 100

export function History({ session, shown, onClose }: HistoryProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [runs, setRuns] = useState<Run[] | null>(null)
  const [failed, setFailed] = useState('')
  const [chosen, setChosen] = useState<number | null>(null)
  const present = session.state.value.run
  useEffect(() => { dialog.current?.showModal() }, [])
  useEffect(() => {
    session.listRuns(shown).then((all) => {
      setRuns(all)
      setFailed('')
      // Whoever looks at a run goes on to do so when another comes.
      setChosen((before) => before ?? (all.find((r) => r.number === shown) ?? all[0])?.number ?? null)
    })
      .catch((err: unknown) => setFailed(err instanceof Error ? err.message : String(err)))
  }, [present?.number, present?.state])
  const listed = runs !== null
  useEffect(() => dialog.current?.querySelector<HTMLElement>('[aria-current]')?.focus(), [listed])
  // What the sockets say of the present run is ahead of the list.
  const all = runs?.map((run) => (run.number === present?.number ? present : run)) ?? []
  const run = all.find((r) => r.number === chosen) ?? all[0]
  return (
    <dialog class="runs" ref={dialog} aria-labelledby="runs-heading" data-testid="runs" onClose={onClose}>
      <header>
        <h2 id="runs-heading">{t.runs.history}</h2>
        <button type="button" class="secondary" data-testid="runs-close" onClick={() => dialog.current?.close()}>{t.close}</button>
      </header>
      {failed !== '' && <p class="problem" role="alert">{t.runs.historyFailed(failed)}</p>}
      {runs === null && failed === '' && <p class="pane-message" role="status">{t.runs.loading}</p>}
      {runs?.length === 0 && <p class="pane-message">{t.runs.historyEmpty}</p>}
      {run !== undefined && (
        <div class="runs-body">
          <nav aria-label={t.runs.list}>
            <ul class="runs-list" onKeyDown={moveBetween}>
              {all.map((r) => <Entry key={r.number} run={r} current={r.number === run.number} onChoose={() => setChosen(r.number)} />)}
            </ul>
            {all.length >= LISTED && <p class="soft"><small>{t.runs.earlier}</small></p>}
          </nav>
          <Details key={run.number} session={session} run={run} onLeave={() => dialog.current?.close()} />
        </div>
      )}
    </dialog>
  )
}

function Entry({ run, current, onChoose }: { run: Run; current: boolean; onChoose(): void }) {
  const { tone, head, detail } = verdict(run)
  // How a program that ended by itself did that is short enough for a list.
  const words = run.status === 'exited' && tone !== 'good' ? `${head}, ${detail}` : head
  const over = run.state === 'finished'
  return (
    <li>
      <button type="button" class="runs-entry" aria-current={current ? 'true' : undefined} data-testid="runs-entry" data-run={run.number} onClick={onChoose} onFocus={onChoose}>
        <i class={`dot ${over ? tone : 'busy'}`} aria-hidden="true" />
        <span>
          <b>{t.runs.number(run.number)}: {over ? words : t.running}</b>
          <small>{t.runs.by(run.started_by_name, timeOf(run))}</small>
          <small>{languageName(run.language)}, {run.entry}</small>
        </span>
      </button>
    </li>
  )
}

/** The time of a run of today, with the date for others. */
function timeOf({ created_at: at }: Run): string {
  if (at === undefined) return ''
  const when = new Date(at)
  const today = when.toDateString() === new Date().toDateString()
  return today ? timeOfDay(when, 'medium') : dateTime(when)
}

const views = ['output', 'code', 'changes'] as const
type View = (typeof views)[number]

function Details({ session, run, onLeave }: { session: RoomSession; run: Run; onLeave(): void }) {
  const [view, setView] = useState<View>('output')
  const may = session.mayRun.value && session.online.value
  const busy = session.active.value
  const again = (code: 'now' | 'then'): void => {
    onLeave()
    void session.runAgain(run, code)
  }
  return (
    <section class="runs-details" aria-label={t.runs.number(run.number)} data-testid="runs-details" data-run={run.number}>
      <div class="runs-head">
        <span class="runs-views" role="group" aria-label={t.runs.views}>
          {views.map((name) => (
            <button key={name} type="button" class="quiet small" aria-pressed={view === name} data-testid={`runs-${name}`} onClick={() => setView(name)}>{t.runs[name]}</button>
          ))}
        </span>
        <span class="spacer" />
        {may && <>
          <button type="button" class="secondary small" data-testid="runs-now" disabled={busy} title={busy ? t.runs.busy : ''} onClick={() => again('now')}><PlayIcon />{t.runs.runNow}</button>
          <button type="button" class="secondary small" data-testid="runs-then" disabled={busy} title={busy ? t.runs.busy : ''} onClick={() => again('then')}><PlayIcon />{t.runs.runThen}</button>
        </>}
      </div>
      {view === 'output' && <OutputAgain session={session} run={run} onLeave={onLeave} />}
      {view === 'code' && <CodeThen session={session} run={run} />}
      {view === 'changes' && <CodeChanges session={session} run={run} />}
      {run.state === 'finished' && <div class="verdict" data-testid="runs-verdict"><Ended run={run} /></div>}
    </section>
  )
}
