import { seatChoices } from '../live/state.ts'
import { t } from '../strings.ts'
import { KeyboardIcon } from '../ui/icons.tsx'
import { Avatar } from './people.tsx'
import type { RoomSession } from './session.ts'

/** Always in sight: whose typing the program reads, and how to change that. */
export function Seat({ session }: { session: RoomSession }) {
  const state = session.state.value
  const driver = state.participants.find((p) => p.id === state.driver)
  const mine = session.isDriver.value
  const can = seatChoices(state)
  const words = mine ? t.driverYou : driver !== undefined ? t.driverOther(driver.name) : t.driverNobody
  const hint = mine ? t.driverYouHint : driver !== undefined ? t.driverOtherHint(driver.name) : ''
  const asked = state.you !== null && state.requests.includes(state.you.id) && !mine
  return (
    <div class="seat-area">
      <div class={mine ? 'seat mine' : 'seat'} data-testid="driver" data-driver={driver?.name ?? ''}>
        {driver === undefined ? <span class="seat-empty"><KeyboardIcon /></span> : <Avatar person={driver} driving />}
        <span class="seat-words" title={hint}>{words}</span>
        {can.take && <button type="button" class="secondary small" data-testid="driver-take" onClick={() => session.takeSeat()}>{t.driverTake}</button>}
        {can.request && <button type="button" class="secondary small" data-testid="driver-request" onClick={() => session.requestSeat()}>{t.driverRequest}</button>}
        {asked && <span class="soft">{t.driverRequested}</span>}
        {can.release && <button type="button" class="secondary small" data-testid="driver-release" onClick={() => session.releaseSeat()}>{t.driverRelease}</button>}
      </div>
      {can.give && state.requests.filter((id) => id !== state.you?.id).map((id) => {
        const person = state.participants.find((p) => p.id === id)
        return person !== undefined && (
          <div class="seat asking" key={id} data-testid="driver-asks">
            <Avatar person={person} />
            <span class="seat-words">{t.driverAsks(person.name)}</span>
            <button type="button" class="primary small" data-testid="driver-give" aria-label={t.driverGiveTo(person.name)} onClick={() => session.giveSeat(id)}>
              {t.driverGive}
            </button>
          </div>
        )
      })}
    </div>
  )
}
