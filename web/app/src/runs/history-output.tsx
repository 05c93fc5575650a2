import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { textOf } from '../doc/files.ts'
import { PTY, STDOUT } from '../live/frames.ts'
import type { Run } from '../live/messages.ts'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { RunTerminal } from '../terminal/terminal.ts'
import { theme } from '../theme.ts'
import type { CodeFile } from './code.ts'
import { lineNow, linesOf } from './lines.ts'
import { findPlaces } from './places.ts'
import { FindBar } from './terminal-bar.tsx'

interface OutputProps {
  session: RoomSession
  run: Run
  /** Makes way for the editor, which goes to a line. */
  onLeave(): void
}

/** What a run printed, in a terminal of its own; the lines that it names lead to where they are now. */
export function OutputAgain({ session, run, onLeave }: OutputProps) {
  const place = useRef<HTMLDivElement>(null)
  const then = useRef<CodeFile[]>([])
  const terminal = useMemo(() => new RunTerminal({
    label: t.terminalLabel,
    onInput: () => undefined,
    onSize: () => undefined,
    places: {
      find: (text) => findPlaces(text, then.current.map((f) => f.path)),
      open: ({ path, line, column }) => {
        onLeave()
        const file = then.current.find((f) => f.path === path)
        if (file === undefined || !session.doc.files.value.some((f) => f.id === file.id)) return session.tell(t.runs.placeGone(path))
        const now = textOf(session.doc.doc, file.id).toString()
        session.goTo({ file: file.id, at: { line: lineNow(linesOf(file.content), linesOf(now), line - 1) + 1, column } })
      },
    },
  }), [])
  const [words, setWords] = useState<string>(t.runs.loading)
  useEffect(() => {
    if (place.current !== null) terminal.open(place.current)
    return () => terminal.dispose()
  }, [terminal])
  useEffect(() => terminal.setTheme(theme.value), [terminal, theme.value])
  useEffect(() => {
    let gone = false
    // Without them, as where history is gone, the output has no links.
    session.runFiles(run.number).then((files) => { then.current = files }, () => undefined)
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
