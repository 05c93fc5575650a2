// A host's controls: what is set in the room, and its end.
import { useState } from 'preact/hooks'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { ask } from '../ui/question.tsx'
import { GatherIcon } from '../ui/room-icons.tsx'

export function HostPanel({ session, close }: { session: RoomSession; close(): void }) {
  const { room } = session.state.value
  if (room === null) return null
  const end = async (): Promise<void> => {
    if (!await ask(t.host.endConfirm, t.host.endYes)) return
    close()
    session.updateRoom({ ended: true })
  }
  return (
    <div class="host-panel">
      <h2>{t.host.title}</h2>
      <Switch name="locked" label={t.host.lock} hint={t.host.lockHint} on={room.locked} set={(locked) => session.updateRoom({ locked })} />
      <Switch name="driver-only" label={t.host.driverOnly} hint={t.host.driverOnlyHint} on={room.driver_only} set={(driver_only) => session.updateRoom({ driver_only })} />
      <Switch name="runs" label={t.host.runs} hint={t.host.runsHint} on={room.runs_enabled} set={(runs_enabled) => session.updateRoom({ runs_enabled })} />
      <div class="host-actions">
        <button type="button" class="secondary" data-testid="bring" title={t.bring.hint} onClick={() => { session.bringEveryone(); close() }}><GatherIcon />{t.bring.action}</button>
        <button type="button" class="secondary danger" data-testid="end-room" onClick={() => void end()}>{t.host.end}</button>
      </div>
    </div>
  )
}

interface SwitchProps {
  name: string
  label: string
  hint: string
  on: boolean
  set(on: boolean): void
}

/** It shows what the server says, not what was asked for: that may be refused. */
function Switch({ name, label, hint, on, set }: SwitchProps) {
  const [id] = useState(() => `set-${name}`)
  return (
    <button type="button" class="switch" role="switch" aria-checked={on} aria-describedby={id} aria-label={label} data-testid={id} onClick={() => set(!on)}>
      <span class="switch-words"><span>{label}</span><small id={id}>{hint}</small></span>
      <span class="switch-track" aria-hidden="true"><i /></span>
    </button>
  )
}
