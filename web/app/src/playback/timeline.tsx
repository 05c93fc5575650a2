// The log along a line: who typed and pasted when, runs, hand-overs. The slider
// below is what a keyboard and a screen reader use; the marks are for the eye.
import { useMemo } from 'preact/hooks'
import { clock, t } from '../strings.ts'
import { marksOf, runsOf } from './log.ts'
import type { Player } from './player.ts'

/** How finely edits are marked. */
const PIECES = 300
/** How far a key goes. */
export const KEY_MS = 5_000

export function Timeline({ player, hidden }: { player: Player; hidden: ReadonlySet<string> }) {
  const { log } = player
  const length = Math.max(1, log.end - log.start)
  const place = (time: number): string => `${((time - log.start) / length) * 100}%`
  const marks = useMemo(() => marksOf(log, PIECES), [log])
  const runs = useMemo(() => runsOf(log), [log])
  const hands = useMemo(() => log.entries.filter((e) => e.kind === 'driver'), [log])
  const rows = useMemo(() => [...new Set(marks.map((m) => m.by))], [marks])
  const now = player.time.value
  return (
    <div class="timeline">
      <div class="marks" aria-hidden="true" style={{ '--rows': String(Math.max(1, rows.length)) }}>
        {marks.map((m) => !hidden.has(m.by) && (
          <i
            key={`${m.piece} ${m.by}`} class={m.paste ? 'mark paste' : 'mark'} title={m.paste ? t.playback.pasted : t.playback.typed}
            style={{ '--at': `${(m.piece / PIECES) * 100}%`, '--row': String(rows.indexOf(m.by)), '--hue': String(log.people.get(m.by)?.hue ?? 210) }}
          />
        ))}
        {runs.map((r) => <i key={r.run} class="run-mark" data-good={r.status === 'exited'} style={{ left: place(r.from), width: `max(3px, ${((r.to - r.from) / length) * 100}%)` }} title={t.playback.run(r.run)} />)}
        {hands.map((e) => <i key={e.at} class="hand-mark" style={{ left: place(e.at) }} title={t.driver} />)}
        <i class="now-mark" style={{ left: place(now) }} />
      </div>
      <input
        type="range" class="scrub" data-testid="scrub" aria-label={t.playback.position} min={0} max={length} step={1} value={now - log.start}
        aria-valuetext={t.playback.at(clock(now - log.start), clock(length))}
        onKeyDown={(e) => {
          // A millisecond, the slider's own step, is nothing to a key.
          const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 }[e.key]
          if (by === undefined) return
          e.preventDefault()
          player.seek(player.time.value + by * KEY_MS)
        }}
        onInput={(e) => player.seek(log.start + e.currentTarget.valueAsNumber)}
      />
    </div>
  )
}
