// What the page knows of people and runs: a value, and how each message of the
// server changes it. No socket, no clock, no DOM.
import type { Language, Participant, Rotation, RoomInfo, Run, ServerMessage } from './messages.ts'

/** How the seat goes round; fresh says that its present turn began while this page was there. */
export type SeatRotation = Rotation & { fresh: boolean }

export interface LiveState {
  you: Participant | null
  participants: readonly Participant[]
  driver: string | null
  /** Whose requests for the seat wait, oldest first. */
  requests: readonly string[]
  /** How the seat goes round, or null while it does not. */
  rotation: SeatRotation | null
  room: RoomInfo | null
  languages: readonly Language[]
  run: Run | null
  /** The last run that is over and left files; they stay in sight until the next is over. */
  left: Run | null
  /** Why edits cannot be saved for the moment, in the server's words, or ''. */
  storageProblem: string
  /** Place in the queue while the run waits; 0 is next. */
  position: number | null
}

export const initialState: LiveState = {
  you: null, participants: [], driver: null, requests: [], rotation: null, room: null, languages: [], run: null, left: null, storageProblem: '', position: null,
}

function withParticipant(all: readonly Participant[], one: Participant): Participant[] {
  const at = all.findIndex((p) => p.id === one.id)
  return at < 0 ? [...all, one] : all.map((p, i) => (i === at ? one : p))
}

/** A message about an older run never replaces a newer one. */
function newerRun(state: LiveState, run: Run): Run {
  return state.run !== null && state.run.number > run.number ? state.run : run
}

/** The run whose files are shown, when run is the present one. */
function leftBy(run: Run | null, before: Run | null): Run | null {
  if (run !== null && run.state !== 'finished') return before
  return run?.artefacts?.length ? run : null
}

/** A new time is that of a turn that begins now; else only who is next is another. */
function rotated(before: SeatRotation | null, { minutes, next_at, next }: Rotation): SeatRotation {
  return { minutes, next_at, next, fresh: before?.next_at === next_at ? before.fresh : true }
}

export function reduce(state: LiveState, msg: ServerMessage): LiveState {
  switch (msg.type) {
    case 'hello':
      return {
        you: msg.you,
        participants: withParticipant(msg.participants, msg.you),
        driver: msg.driver,
        requests: msg.requests,
        rotation: msg.rotation == null ? null : { ...msg.rotation, fresh: false },
        room: msg.room,
        languages: msg.languages ?? [],
        run: msg.run,
        left: leftBy(msg.run, state.left),
        storageProblem: '', // where there is one the server says so next
        position: null,
      }
    case 'participant.joined':
    case 'participant.updated':
      return {
        ...state,
        participants: withParticipant(state.participants, msg.participant),
        you: state.you?.id === msg.participant.id ? msg.participant : state.you,
      }
    case 'participant.left':
      return {
        ...state,
        participants: state.participants.filter((p) => p.id !== msg.participant.id),
        requests: state.requests.filter((id) => id !== msg.participant.id),
      }
    case 'driver.changed':
      return { ...state, driver: msg.driver, requests: state.requests.filter((id) => id !== msg.driver) }
    case 'driver.requested':
      return state.requests.includes(msg.participant.id)
        ? state
        : { ...state, requests: [...state.requests, msg.participant.id] }
    case 'driver.requests':
      return { ...state, requests: msg.requests }
    case 'driver.rotation':
      return { ...state, rotation: msg.minutes === 0 ? null : rotated(state.rotation, msg) }
    case 'run.queued':
      return { ...state, run: newerRun(state, msg.run), position: msg.position }
    case 'run.started':
      return { ...state, run: newerRun(state, msg.run), position: null }
    case 'run.exited': {
      const run = newerRun(state, msg.run)
      return { ...state, run, left: leftBy(run, state.left), position: null }
    }
    case 'run.stage':
      return { ...state, run: newerRun(state, { ...msg.run, stage: msg.stage }) }
    case 'storage':
      return { ...state, storageProblem: msg.writable ? '' : (msg.message ?? '') }
    case 'room.updated':
      return { ...state, room: msg.room }
    default:
      return state
  }
}

export const isActive = (run: Run | null): run is Run => run !== null && run.state !== 'finished'

export const mayEdit = (s: LiveState): boolean =>
  s.you !== null && s.you.role !== 'viewer' && s.room?.locked !== true && s.storageProblem === '' &&
  (s.room?.driver_only !== true || isDriver(s))

export const mayRun = (s: LiveState): boolean =>
  s.you !== null && s.you.role !== 'viewer' && s.room?.runs_enabled !== false

export const isDriver = (s: LiveState): boolean => s.you !== null && s.driver === s.you.id

/** What the seat offers this person. */
export interface SeatChoices {
  take: boolean
  request: boolean
  release: boolean
  give: boolean
}

export function seatChoices(s: LiveState): SeatChoices {
  const can = s.you !== null && s.you.role !== 'viewer'
  const mine = isDriver(s)
  const host = s.you?.role === 'host'
  const asked = s.you !== null && s.requests.includes(s.you.id)
  return {
    take: can && !mine && (s.driver === null || host),
    request: can && !mine && s.driver !== null && !host && !asked,
    release: mine,
    give: mine || host,
  }
}
