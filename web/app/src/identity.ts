// Who this browser's person is, and which rooms' links it holds. Kept in the
// browser only; a browser that keeps nothing still works for as long as the
// page is open.
import type { Role } from './live/messages.ts'
import { t } from './strings.ts'

export interface Identity {
  name: string
  hue: number
  /** False while the name is only our suggestion. */
  chosen: boolean
}

const IDENTITY = 'corun.identity'
const LINKS = 'corun.links.'
const RESUME = 'corun.resume.'

/** The server's limit, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 64

export function load<T>(storage: () => Storage, key: string): T | null {
  try {
    const text = storage().getItem(key)
    return text === null ? null : (JSON.parse(text) as T)
  } catch {
    return null // storage is blocked, or holds something foreign
  }
}

export function keep(storage: () => Storage, key: string, value: unknown): void {
  try {
    if (value === null) storage().removeItem(key)
    else storage().setItem(key, JSON.stringify(value))
  } catch {
    // Storage is blocked or full: what was to be kept lasts as long as the page.
  }
}

export const local = (): Storage => localStorage
const perTab = (): Storage => sessionStorage

const pick = <T,>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T

export function loadIdentity(): Identity {
  const kept = load<Partial<Identity>>(local, IDENTITY)
  const name = typeof kept?.name === 'string' ? cleanName(kept.name) : ''
  const hue = typeof kept?.hue === 'number' && Number.isInteger(kept.hue) && kept.hue >= 0 && kept.hue < 360
    ? kept.hue
    : Math.floor(Math.random() * 360)
  const identity = name === ''
    ? { name: `${pick(t.suggestedName.first)} ${pick(t.suggestedName.last)}`, hue, chosen: false }
    : { name, hue, chosen: kept?.chosen === true }
  saveIdentity(identity)
  return identity
}

export function saveIdentity(identity: Identity): void {
  keep(local, IDENTITY, identity)
}

/** A name as the server takes it: trimmed, no control characters, short. */
export function cleanName(raw: string): string {
  let name = raw.replace(/[\p{Cc}\p{Cf}]/gu, '').trim()
  const size = (s: string): number => new TextEncoder().encode(s).length
  while (size(name) > MAX_NAME_BYTES) name = [...name].slice(0, -1).join('')
  return name
}

/** The tokens of a room that this browser was given, by role. */
export type RoomTokens = Partial<Record<Role, string>>

export const loadTokens = (room: string): RoomTokens => load<RoomTokens>(local, LINKS + room) ?? {}
export const saveTokens = (room: string, tokens: RoomTokens): void => keep(local, LINKS + room, tokens)

/** A secret that joins the two sockets of one page: the server tells it to nobody. */
export function newSession(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}

export const loadResume = (room: string): string | null => load<string>(perTab, RESUME + room)
export const saveResume = (room: string, resume: string | null): void => keep(perTab, RESUME + room, resume)
