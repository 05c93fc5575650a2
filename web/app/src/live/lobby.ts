// What the page knows of a room's lobby: whether this person waits in it, and for a
// host who does. No socket, no DOM.
import { signal } from '@preact/signals'
import type { Participant, ServerMessage } from './messages.ts'

export type LobbyServerMessage =
  | { type: 'lobby'; waiting: true; you: Participant }
  | { type: 'lobby.waiting'; participants: Participant[] }

export class Lobby {
  /** Whether this person waits, and sees nothing of the room. */
  readonly waits = signal(false)
  /** Who this is while they wait: what else the page knows of them comes with the room. */
  you: Participant | null = null
  /** Who waits, the first first; of that hosts alone are told. */
  readonly people = signal<readonly Participant[]>([])

  /** Takes a message in, and gives what there is to say of it, or null. */
  receive(msg: ServerMessage): { kind: 'came' | 'started'; name: string } | null {
    switch (msg.type) {
      case 'lobby':
        this.waits.value = true
        this.you = msg.you
        return null
      case 'hello': {
        const waited = this.waits.value
        this.waits.value = false
        this.you = null
        this.people.value = msg.waiting ?? []
        return waited ? { kind: 'started', name: '' } : null
      }
      case 'lobby.waiting': {
        const before = new Set(this.people.value.map((p) => p.id))
        this.people.value = msg.participants
        const last = msg.participants.filter((p) => !before.has(p.id)).pop()
        return last === undefined ? null : { kind: 'came', name: last.name }
      }
      default:
        return null
    }
  }
}
