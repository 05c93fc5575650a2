import type { ComponentType } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { ListIcon } from '../ui/icons.tsx'
import type { HistoryProps } from './history.tsx'

/** Stands for whichever run is the last. */
const LAST_RUN = 0

export function HistoryButton({ session }: { session: RoomSession }) {
  return (
    <button type="button" class="quiet square" data-testid="run-history" aria-label={t.runs.history} title={t.runs.history} aria-haspopup="dialog" onClick={() => { session.shownRun.value = LAST_RUN }}>
      <ListIcon />
    </button>
  )
}

/** The runs of the room, when somebody asks for them. What shows them is loaded then. */
export function RunHistory({ session }: { session: RoomSession }) {
  const [History, setHistory] = useState<ComponentType<HistoryProps> | null>(null)
  const shown = session.shownRun.value
  const close = (): void => { session.shownRun.value = null }
  const open = shown !== null
  useEffect(() => {
    if (!open || History !== null) return
    import('./history.tsx').then((module) => setHistory(() => module.History)).catch((err: unknown) => {
      close()
      session.tell(t.runs.historyFailed(err instanceof Error ? err.message : String(err)))
    })
  }, [open])
  return shown === null || History === null ? null : <History session={session} shown={shown} onClose={close} />
}
