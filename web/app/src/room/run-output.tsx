// What an earlier run printed, to which a message of the chat points.
import { useEffect, useRef, useState } from 'preact/hooks'
import { t } from '../strings.ts'
import type { RoomSession } from './session.ts'

export function RunOutput({ session }: { session: RoomSession }) {
  const run = session.shownRun.value
  return run === null ? null : <Dialog key={run} session={session} run={run} />
}

/** What moves a terminal's cursor or colours it is nothing to read. */
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g

function Dialog({ session, run }: { session: RoomSession; run: number }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [text, setText] = useState<string | null>(null)
  useEffect(() => {
    dialog.current?.showModal()
    const gone = new AbortController()
    session.outputOf(run, gone.signal).then(
      (all) => setText(all.replace(ESCAPES, '').replaceAll('\r\n', '\n')),
      (err: unknown) => { if (!gone.signal.aborted) setText(err instanceof Error ? err.message : String(err)) },
    )
    return () => gone.abort()
  }, [])
  return (
    <dialog class="panel-dialog" ref={dialog} aria-labelledby="run-output-title" data-testid="run-output" onClose={() => { session.shownRun.value = null }}>
      <h2 id="run-output-title">{t.chat.outputOf(run)}</h2>
      <pre tabIndex={0} aria-label={t.chat.outputOf(run)}>{text ?? t.dock.loading}</pre>
      <p class="dialog-actions"><button type="button" class="secondary" autofocus onClick={() => dialog.current?.close()}>{t.close}</button></p>
    </dialog>
  )
}
