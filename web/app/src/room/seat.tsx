import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Participant } from '../live/messages.ts'
import { seatChoices, type LiveState } from '../live/state.ts'
import { t } from '../strings.ts'
import { KeyboardIcon, MoreIcon } from '../ui/icons.tsx'
import { GatherIcon } from '../ui/room-icons.tsx'
import { Popover } from '../ui/popover.tsx'
import { Avatar } from './people.tsx'
import type { RoomSession } from './session.ts'

/** Always in sight: whose typing the program reads, and how to change that. */
export function Seat({ session }: { session: RoomSession }) {
  const state = session.state.value
  const driver = state.participants.find((p) => p.id === state.driver)
  const mine = session.isDriver.value
  const words = mine ? t.driverYou : driver !== undefined ? t.driverOther(driver.name) : t.driverNobody
  const hint = mine ? t.driverYouHint : driver !== undefined ? t.driverOtherHint(driver.name) : ''
  return (
    <div class="seat-area">
      <div class={mine ? 'seat mine' : 'seat'} data-testid="driver" data-driver={driver?.name ?? ''}>
        {driver === undefined ? <span class="seat-empty"><KeyboardIcon /></span> : <Avatar person={driver} driving />}
        <span class="seat-words" title={hint}>{words}<RotationWords state={state} /></span>
        <Waiting state={state} />
        <SeatButton session={session} />
        {seatChoices(state).give && (
          <Popover label={t.seat.menu} class="quiet square" testid="seat-menu" face={<MoreIcon />}>
            {(close) => <SeatMenu session={session} close={close} />}
          </Popover>
        )}
      </div>
      <Requests session={session} />
    </div>
  )
}

/** The one thing to do about the seat. It is one button, so that the focus stays when what it does changes. */
function SeatButton({ session }: { session: RoomSession }) {
  const state = session.state.value
  const can = seatChoices(state)
  const what = can.release
    ? { id: 'driver-release', label: t.driverRelease, title: '', act: () => session.releaseSeat() }
    : can.take
      ? { id: 'driver-take', label: t.driverTake, title: '', act: () => session.takeSeat() }
      : can.request
        ? { id: 'driver-request', label: t.driverRequest, title: '', act: () => session.requestSeat() }
        : placeInLine(state) > 0
          ? { id: 'driver-withdraw', label: t.seat.withdraw, title: t.seat.withdrawTitle, act: () => session.withdrawRequest() }
          : null
  if (what === null) return null
  return <button type="button" class="secondary small" data-testid={what.id} title={what.title} onClick={what.act}>{what.label}</button>
}

/** This person's place among those who asked, from 1; 0 for who did not. */
const placeInLine = ({ you, requests, driver }: LiveState): number => (you === null || driver === you.id ? 0 : requests.indexOf(you.id) + 1)

function Waiting({ state }: { state: LiveState }) {
  const place = placeInLine(state)
  return place === 0 ? null : <span class="soft" data-testid="seat-place">{t.seat.place(place)}</span>
}

/** Who waits for the seat, the first first, for those who decide on it. */
function Requests({ session }: { session: RoomSession }) {
  const { requests, participants, you } = session.state.value
  const asking = requests.flatMap((id) => participants.find((p) => p.id === id) ?? []).filter((p) => p.id !== you?.id)
  if (!seatChoices(session.state.value).give || asking.length === 0) return null
  return (
    <ol class="seat-requests" aria-label={t.seat.queue}>
      {asking.map((person) => (
        <li class="seat asking" key={person.id} data-testid="driver-asks">
          <Avatar person={person} />
          <span class="seat-words">{t.driverAsks(person.name)}</span>
          <button type="button" class="primary small" data-testid="driver-give" aria-label={t.seat.grantTo(person.name)} onClick={() => session.grantSeat(person.id)}>
            {t.seat.grant}
          </button>
          <button type="button" class="secondary small" data-testid="driver-deny" aria-label={t.seat.denyTo(person.name)} onClick={() => session.denySeat(person.id)}>
            {t.seat.deny}
          </button>
        </li>
      ))}
    </ol>
  )
}

const EVERY = [5, 10, 15, 30]

function SeatMenu({ session, close }: { session: RoomSession; close(): void }) {
  const { participants, driver, rotation } = session.state.value
  const others = participants.filter((p) => p.role !== 'viewer' && p.id !== driver)
  const rotate = (minutes: number): void => {
    session.rotateSeat(minutes)
    close()
  }
  return (
    <div class="seat-menu">
      {session.isDriver.value && (
        <p>
          <button type="button" class="secondary" data-testid="seat-bring" title={t.bring.hint} onClick={() => { session.bringEveryone(); close() }}>
            <GatherIcon />{t.bring.action}
          </button>
        </p>
      )}
      <h2>{t.seat.give}</h2>
      {others.length === 0 ? <p class="soft">{t.seat.nobodyElse}</p> : (
        <div class="menu">
          {others.map((p: Participant) => (
            <button key={p.id} type="button" data-testid="seat-give" onClick={() => { session.giveSeat(p.id); close() }}><Avatar person={p} />{p.name}</button>
          ))}
        </div>
      )}
      <h2>{t.seat.rotate}</h2>
      <p class="soft"><small>{t.seat.rotateHint}</small></p>
      <p class="rotate-choices">
        <button type="button" class="secondary small" data-testid="rotate-off" aria-pressed={rotation === null} onClick={() => rotate(0)}>{t.seat.rotateOff}</button>
        {EVERY.map((minutes) => (
          <button key={minutes} type="button" class="secondary small" data-testid={`rotate-${minutes}`} aria-pressed={rotation?.minutes === minutes} onClick={() => rotate(minutes)}>
            {t.seat.rotateEvery(minutes)}
          </button>
        ))}
      </p>
      <OtherMinutes now={rotation?.minutes} onSet={rotate} />
    </div>
  )
}

function OtherMinutes({ now, onSet }: { now: number | undefined; onSet(minutes: number): void }) {
  const [text, setText] = useState(now === undefined ? '' : String(now))
  const [problem, setProblem] = useState('')
  const submit = (event: Event): void => {
    event.preventDefault()
    const minutes = Number(text.trim().replace(',', '.'))
    if (text.trim() !== '' && minutes >= 0.05 && minutes <= 120) onSet(minutes)
    else setProblem(t.seat.rotateBad)
  }
  return (
    <form class="rotate-minutes" onSubmit={submit}>
      <label>{t.seat.rotateMinutes}
        <input
          type="text" inputMode="decimal" value={text} data-testid="rotate-minutes" aria-invalid={problem !== ''} aria-describedby="rotate-problem"
          onInput={(e) => { setText(e.currentTarget.value); setProblem('') }}
        />
      </label>
      <button class="secondary small" data-testid="rotate-set">{t.seat.rotateSet}</button>
      <p class="problem" id="rotate-problem" role="alert">{problem}</p>
    </form>
  )
}

/** How often the time left is looked at; words change more seldom. */
const LOOK_MS = 1_000

/** Who gets the seat next, and about when. No clock that runs: that would only hurry people. */
function RotationWords({ state }: { state: LiveState }) {
  const { rotation, participants, you } = state
  const ends = useEnd(rotation)
  const [, look] = useState(0)
  useEffect(() => {
    if (rotation === null) return
    const timer = setInterval(() => look((n) => n + 1), LOOK_MS)
    return () => clearInterval(timer)
  }, [rotation === null])
  if (rotation === null) return null
  const next = participants.find((p) => p.id === rotation.next)
  const name = next?.id === you?.id ? t.seat.yours : next?.name
  return (
    <small class="rotation" data-testid="rotation" data-minutes={rotation.minutes} data-next={next?.name ?? ''}>
      {name === undefined ? t.seat.rotatingAlone(String(rotation.minutes)) : t.seat.rotating(name, timeLeft(ends - performance.now()))}
    </small>
  )
}

/**
 * When the seat goes on, by this page's own clock: a turn that began before this page came is
 * known by the server's clock alone, from which this machine's may differ.
 */
function useEnd(rotation: LiveState['rotation']): number {
  return useMemo(() => {
    if (rotation === null || rotation.next_at === null) return 0
    const whole = rotation.minutes * 60_000
    const left = rotation.fresh ? whole : Math.min(Math.max(0, Date.parse(rotation.next_at) - Date.now()), whole)
    return performance.now() + left
  }, [rotation?.next_at])
}

function timeLeft(ms: number): string {
  if (ms < 10_000) return t.seat.inAMoment
  return ms < 60_000 ? t.seat.inAMinute : t.seat.in(Math.ceil(ms / 60_000))
}
