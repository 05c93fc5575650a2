import { useEffect, useRef } from 'preact/hooks'
import { HistoryButton } from '../runs/history-button.tsx'
import { RunOptionsButton } from '../runs/run-options.tsx'
import { FindBar, TerminalBar } from '../runs/terminal-bar.tsx'
import { t } from '../strings.ts'
import { theme } from '../theme.ts'
import { PlayIcon, StopIcon } from '../ui/icons.tsx'
import { narrow } from '../ui/narrow.ts'
import { Artefacts } from './artefacts.tsx'
import { Seat } from './seat.tsx'
import type { RoomSession } from './session.ts'
import { underway, VerdictLine } from './verdict-line.tsx'

export function RunPane({ session }: { session: RoomSession }) {
  const place = useRef<HTMLDivElement>(null)
  const { terminal } = session
  useEffect(() => {
    if (place.current !== null) terminal.open(place.current)
    return () => terminal.dispose()
  }, [terminal])
  useEffect(() => terminal.setTheme(theme.value), [terminal, theme.value])
  useEffect(() => terminal.setLabel(t.terminalLabel), [terminal, t.locale])
  const mine = session.isDriver.value
  // From pressing Run straight on to typing, for whoever types: that the seat is theirs
  // can come to be known after the run.
  const active = session.active.value
  const run = session.state.value.run
  const turnedTo = useRef(0)
  useEffect(() => {
    if (run === null || !active || !mine || turnedTo.current === run.number || !session.startedHere()) return
    turnedTo.current = run.number
    terminal.focus()
  }, [active, mine, run?.number])
  const never = run === null
  return (
    <section class="run-pane" role={narrow.value ? 'main' : undefined} aria-label={t.output}>
      <RunBar session={session} />
      <Seat session={session} />
      <TerminalBar session={session} />
      <div class="terminal-frame" data-live={active && mine} data-watch={active && !mine}>
        <div class="terminal" data-testid="terminal" ref={place} />
        <FindBar terminal={terminal} />
        {never && <p class="pane-message over">{t.runHint}</p>}
      </div>
      <Artefacts session={session} />
      <VerdictLine session={session} />
    </section>
  )
}

function RunBar({ session }: { session: RoomSession }) {
  const active = session.active.value
  const mayRun = session.mayRun.value
  const off = session.state.value.room?.runs_enabled === false
  return (
    <div class="pane-head run-bar">
      <button
        type="button" class="primary" data-testid="run" disabled={active || !mayRun || !session.online.value}
        title={off ? t.runsDisabled : `${t.run} (${t.keys.run})`} onClick={() => session.start()}
      >
        <PlayIcon />{t.run}<kbd class="wide">{t.keys.run}</kbd>
      </button>
      {session.state.value.you?.role !== 'viewer' && <RunOptionsButton session={session} />}
      <button
        type="button" class="stop" data-testid="stop" disabled={!active || !mayRun} title={`${t.stop} (${t.keys.stop})`}
        onClick={() => session.stop()}
      >
        <StopIcon /><span class="stop-word">{t.stop}</span>
      </button>
      <span class="run-note" data-testid="run-state">{off ? t.runsDisabled : active ? underway(session) : ''}</span>
      <HistoryButton session={session} />
    </div>
  )
}
