// The rooms that were open in this browser, with the link that opens them again.
// They stay in this browser; a browser that keeps nothing has none.
import { keep, load, local } from './identity.ts'
import type { Role } from './live/messages.ts'

export interface RecentRoom {
  room: string
  token: string
  role: Role
  title: string
  /** When it was last open, in milliseconds. */
  at: number
  /** Whether this person could edit when the server was last there. */
  editable: boolean
}

const KEY = 'corun.recent'
const MOST = 20

const isRecent = (value: unknown): value is RecentRoom =>
  typeof value === 'object' && value !== null && 'room' in value && typeof value.room === 'string' && 'token' in value && typeof value.token === 'string' &&
  'role' in value && (value.role === 'host' || value.role === 'guest' || value.role === 'viewer') && 'title' in value && typeof value.title === 'string' &&
  'at' in value && typeof value.at === 'number' && 'editable' in value && typeof value.editable === 'boolean'

/** The rooms, the last one first. */
export function recentRooms(): RecentRoom[] {
  const kept = load<unknown>(local, KEY)
  return Array.isArray(kept) ? kept.filter(isRecent).sort((a, b) => b.at - a.at) : []
}

/** A room can be there once for each role: who hosts may look at it as a viewer. */
const same = (a: RecentRoom, room: string, role: Role): boolean => a.room === room && a.role === role

export function rememberRoom(one: RecentRoom): void {
  keep(local, KEY, [one, ...recentRooms().filter((r) => !same(r, one.room, one.role))].slice(0, MOST))
}

export function forgetRoom(room: string, role: Role): void {
  keep(local, KEY, recentRooms().filter((r) => !same(r, room, role)))
}

/** What is known of a link from when it was last open. */
export const recentRoom = (room: string, token: string): RecentRoom | undefined =>
  recentRooms().find((r) => r.room === room && r.token === token)
