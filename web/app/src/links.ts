// A room's page link: /r/{room}#t={token}. The token stays in the fragment,
// which browsers never send.

export interface RoomLink {
  room: string
  token: string
  /** Whether it is of the room's playback. */
  playback: boolean
}

/** What the address bar, or a pasted link, points to; null when it is no room. */
export function parseRoomLink(text: string, base: string): RoomLink | null {
  let url: URL
  try {
    url = new URL(text.trim(), base)
  } catch {
    return null
  }
  const match = /^\/r\/([A-Za-z0-9._-]{1,128})(\/playback)?\/?$/.exec(url.pathname)
  if (match?.[1] === undefined) return null
  return { room: match[1], token: new URLSearchParams(url.hash.slice(1)).get('t') ?? '', playback: match[2] !== undefined }
}

export function roomLink(origin: string, room: string, token: string): string {
  return `${origin}/r/${room}${token === '' ? '' : `#t=${token}`}`
}

export const playbackLink = (room: string, token: string): string => `/r/${room}/playback${token === '' ? '' : `#t=${token}`}`

export const socketOrigin = (origin: string): string => origin.replace(/^http/, 'ws')
