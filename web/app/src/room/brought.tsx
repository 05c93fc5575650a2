import { t } from '../strings.ts'
import type { RoomSession } from './session.ts'

/** That somebody brought this person here, and the way back. */
export function BroughtNotice({ session }: { session: RoomSession }) {
  const brought = session.gather.brought.value
  const back = (): void => {
    session.gather.brought.value = null
    if (brought?.back != null) session.goTo(brought.back)
  }
  return (
    <div class="brought-place" role="status">
      {brought !== null && (
        <div class="notice" data-testid="brought">
          <span>{t.bring.brought(brought.by)}</span>
          {brought.back !== null && <button type="button" class="secondary small" data-testid="bring-back" onClick={back}>{t.bring.back}</button>}
          <button type="button" class="quiet small" data-testid="bring-stay" onClick={() => { session.gather.brought.value = null }}>{t.bring.stay}</button>
        </div>
      )}
    </div>
  )
}
