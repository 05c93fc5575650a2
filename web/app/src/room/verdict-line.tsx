import type { Run } from '../live/messages.ts'
import { bytes, duration, t, verdict } from '../strings.ts'
import type { RoomSession } from './session.ts'

/** A place that never moves or grows: how the run stands, or how it ended. */
export function VerdictLine({ session }: { session: RoomSession }) {
  const { run } = session.state.value
  return (
    <div class="verdict" data-testid="verdict" data-state={run?.state ?? 'none'} data-status={run?.status ?? ''}>
      {run === null
        ? <span class="soft">{t.notStarted}</span>
        : run.state === 'finished' ? <Ended run={run} /> : <Underway session={session} run={run} />}
    </div>
  )
}

/** How the run stands that is not over, in words. */
export function underway(session: RoomSession): string {
  const { run, position } = session.state.value
  return run?.state === 'queued' ? t.queued(position) : run?.stage === 'compile' ? t.compiling : t.running
}

function Underway({ session, run }: { session: RoomSession; run: Run }) {
  return (
    <>
      <i class="dot busy" aria-hidden="true" />
      <b>{underway(session)}</b>
      <span class="detail">{t.startedBy(run.started_by_name)}</span>
    </>
  )
}

export function Ended({ run }: { run: Run }) {
  const { tone, head, detail } = verdict(run)
  return (
    <>
      <i class={`dot ${tone}`} aria-hidden="true" />
      <b>{head}</b>
      <span class="detail" title={detail}>{detail}</span>
      {run.usage != null && (
        <span class="usage">
          {run.compile !== undefined && run.status !== 'compile_failed' && (
            <span data-testid="compile" title={t.usage.compile}>{run.compile.cached ? t.compiledBefore : t.compiledIn(duration(run.compile.usage.wall_ms))}</span>
          )}
          <span class="cpu" data-testid="cpu" title={t.runs.cpuTitle}>{t.runs.cpu(duration(run.usage.cpu_ms))}</span>
          <span data-testid="time" title={t.usage.wall}>{duration(run.usage.wall_ms)}</span>
          <span data-testid="memory" title={t.usage.memory}>{bytes(run.usage.memory_peak_bytes)}</span>
        </span>
      )}
    </>
  )
}
