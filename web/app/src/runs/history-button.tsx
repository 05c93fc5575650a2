import type { ComponentType } from 'preact'
import { useState } from 'preact/hooks'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { ListIcon } from '../ui/icons.tsx'
import type { HistoryProps } from './history.tsx'

/** Opens the runs of the room. What shows them is loaded when it is asked for. */
export function HistoryButton({ session }: { session: RoomSession }) {
  const [History, setHistory] = useState<ComponentType<HistoryProps> | null>(null)
  const [open, setOpen] = useState(false)
  const show = (): void => {
    setOpen(true)
    if (History !== null) return
    import('./history.tsx').then((module) => setHistory(() => module.History))
      .catch((err: unknown) => session.tell(t.runs.historyFailed(err instanceof Error ? err.message : String(err))))
  }
  return (
    <>
      <button type="button" class="quiet square" data-testid="run-history" aria-label={t.runs.history} title={t.runs.history} aria-haspopup="dialog" onClick={show}><ListIcon /></button>
      {open && History !== null && <History session={session} onClose={() => setOpen(false)} />}
    </>
  )
}
