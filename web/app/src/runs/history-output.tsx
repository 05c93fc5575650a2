import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { PTY, STDOUT } from '../live/frames.ts'
import type { Run } from '../live/messages.ts'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { RunTerminal } from '../terminal/terminal.ts'
import { dark } from '../theme.ts'
import { FindBar } from './terminal-bar.tsx'

/** What a run printed, in a terminal of its own. */
export function OutputAgain({ session, run }: { session: RoomSession; run: Run }) {
  const place = useRef<HTMLDivElement>(null)
  const terminal = useMemo(() => new RunTerminal({ label: t.terminalLabel, onInput: () => undefined, onSize: () => undefined }), [])
  const [words, setWords] = useState<string>(t.runs.loading)
  useEffect(() => {
    if (place.current !== null) terminal.open(place.current)
    return () => terminal.dispose()
  }, [terminal])
  useEffect(() => terminal.setDark(dark.value), [terminal, dark.value])
  useEffect(() => {
    let gone = false
    session.runOutput(run.number).then((data) => {
      if (gone) return
      terminal.restart(run.number)
      terminal.write({ stream: run.mode === 'terminal' ? PTY : STDOUT, run: run.number, offset: 0, data })
      setWords(data.length === 0 ? t.runs.noOutput : '')
    }).catch((err: unknown) => { if (!gone) setWords(t.runs.historyFailed(err instanceof Error ? err.message : String(err))) })
    return () => { gone = true }
  }, [run.number, run.state])
  return (
    <div class="terminal-frame">
      <div class="terminal" ref={place} data-testid="runs-terminal" />
      <FindBar terminal={terminal} />
      {words !== '' && <p class="pane-message over" role="status">{words}</p>}
    </div>
  )
}
