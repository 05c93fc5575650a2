// The text messages of /live, as CONTRACT.md §5 has them. Both sides ignore
// fields that they do not know.
import type { ChatClientMessage, ChatMessage, ChatServerMessage } from './chat.ts'
import type { LobbyServerMessage } from './lobby.ts'
import type { TestsServerMessage, TestsSummary } from './tests.ts'

export type Role = 'host' | 'guest' | 'viewer'

export interface Participant {
  id: string
  name: string
  /** The person's colour, 0 to 359. */
  hue: number
  role: Role
}

export interface RoomInfo {
  id: string
  title: string
  language: string
  locked: boolean
  /** Nobody edits but who drives. */
  driver_only: boolean
  runs_enabled: boolean
  ended: boolean
  /** Guests and viewers wait until a host starts the room. */
  lobby?: boolean
}

/** What a host may set. */
export interface RoomSettings {
  locked?: boolean
  driver_only?: boolean
  runs_enabled?: boolean
  ended?: boolean
  /** Only ever false: who waits comes in. */
  lobby?: false
}

export interface Language {
  name: string
  version: string
  aliases: string[]
  extensions: string[]
  /** The path that a program of this language usually starts at. */
  entry: string
  /** Whether its files can be formatted. */
  format?: boolean
  /** What is wrong with it, though it works. */
  problem?: string
}

export type RunState = 'queued' | 'running' | 'finished'

export type RunStatus =
  | 'exited' | 'signaled' | 'compile_failed' | 'timeout' | 'cpu_limit' | 'memory_limit'
  | 'output_limit' | 'stopped' | 'lost' | 'failed'

export interface Usage {
  wall_ms: number
  cpu_ms: number
  memory_peak_bytes: number
  output_bytes: number
}

/** A file that a program left in /work/out. */
export interface Artefact {
  path: string
  size: number
}

export interface Run {
  number: number
  language: string
  entry: string
  args?: string[] | null
  mode: 'terminal' | 'pipes' | 'tests'
  /** 'given' where the program got all of its input when it began. */
  stdin?: 'driver' | 'given' | ''
  state: RunState
  stage?: 'compile' | 'run' | ''
  status?: RunStatus | ''
  exit_code?: number | null
  signal?: string | null
  message?: string
  startup_ms?: number | null
  usage?: Usage | null
  compile?: { status: RunStatus; usage: Usage; cached: boolean }
  artefacts?: Artefact[]
  /** Of a run in the mode tests. */
  tests?: TestsSummary
  started_by: string
  started_by_name: string
  created_at?: string
  /** Of the code that was run, in base64. */
  state_vector?: string
}

/** How the seat goes round by itself. */
export interface Rotation {
  minutes: number
  /** When it is handed on, RFC 3339 by the server's clock. */
  next_at: string | null
  /** To whom; null while nobody else may drive. */
  next: string | null
}

export type DriverReason = 'taken' | 'given' | 'released' | 'left' | 'granted' | 'rotated'

export type ServerMessage =
  | {
      type: 'hello'; protocol: number; you: Participant; resume: string; participants: Participant[]
      driver: string | null; requests: string[]; rotation?: Rotation | null; room: RoomInfo; languages: Language[] | null; run: Run | null
      chat?: ChatMessage[]
      /** Who is in the lobby; for hosts. */
      waiting?: Participant[] | null
    }
  | { type: 'participant.joined' | 'participant.left' | 'participant.updated'; participant: Participant }
  | { type: 'driver.changed'; driver: string | null; by: string | null; reason: DriverReason }
  | { type: 'driver.requested'; participant: Participant }
  | { type: 'driver.requests'; requests: string[] }
  | { type: 'driver.denied'; by: string }
  | ({ type: 'driver.rotation'; by?: string } & Rotation)
  | { type: 'run.queued'; run: Run; position: number }
  | { type: 'run.started' | 'run.exited'; run: Run }
  | { type: 'run.stage'; run: Run; stage: 'compile' | 'run' }
  | { type: 'run.stdin'; run: Run; by: string; data: string }
  | { type: 'run.truncated'; run: Run; stream: string; dropped: number }
  | { type: 'saved'; state_vector: string }
  | { type: 'storage'; writable: boolean; message?: string }
  | { type: 'room.updated'; room: RoomInfo }
  | { type: 'token.rotated'; role: Role; token: string; resume?: string }
  | { type: 'error'; code: string; message: string; ref?: unknown }
  | { type: 'bring'; by: Participant; file: string; anchor: string }
  | { type: 'pong' }
  | ChatServerMessage
  | TestsServerMessage
  | LobbyServerMessage

/** How a run begins; what is left out is the room's, or as usual. */
export interface RunStart {
  language?: string
  entry?: string
  args?: string[]
  mode?: 'terminal' | 'pipes' | 'tests'
  /** All that the program gets to read. */
  stdin?: string
  /** Of the files as they were at an RFC 3339 time. */
  at?: string
}

export type ClientMessage =
  | ({ type: 'run.start'; cols: number; rows: number } & RunStart)
  | { type: 'run.stop' | 'stdin.eof'; run: number }
  | { type: 'signal'; run: number; signal: 'INT' | 'TERM' | 'KILL' }
  | { type: 'resize'; cols: number; rows: number }
  | { type: 'driver.request'; withdraw?: true }
  | { type: 'driver.rotate'; minutes: number }
  | { type: 'driver.take' | 'driver.release' | 'saved?' | 'ping' }
  | { type: 'driver.give' | 'driver.grant' | 'driver.deny'; to: string }
  | { type: 'participant.update'; name: string; hue: number }
  | { type: 'participant.remove'; id: string }
  | { type: 'bring'; file: string; anchor: string }
  | ({ type: 'room.update'; title?: string } & RoomSettings)
  | ChatClientMessage

/** Reads a text frame; null when it is no message. */
export function parseMessage(text: string): ServerMessage | null {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('type' in value)) return null
    // The server of the same build is trusted with the fields of each type.
    return typeof value.type === 'string' ? (value as ServerMessage) : null
  } catch {
    return null
  }
}
