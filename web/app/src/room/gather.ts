// "Bring everyone here": a host, or who is at the keyboard, says where everybody should look.
import { signal } from '@preact/signals'
import type { ServerMessage } from '../live/messages.ts'
import type { Spot } from './navigation.ts'

/** A place, as it is sent. */
export interface Call {
  file: string
  /** A relative position in base64. */
  anchor: string
}

export interface Brought {
  /** The name of who brought this person here. */
  by: string
  back: Spot | null
}

export class Gather {
  /** By whom this person was brought where they are, until they have seen that. */
  readonly brought = signal<Brought | null>(null)

  /** go goes where a call says and gives where this person was; false when that is nowhere here. */
  constructor(private readonly go: (call: Call) => { back: Spot | null } | false) {}

  receive(msg: ServerMessage, you: string | undefined): void {
    if (msg.type !== 'bring' || msg.by.id === you) return
    const went = this.go(msg)
    if (went !== false) this.brought.value = { by: msg.by.name, back: this.brought.value?.back ?? went.back }
  }
}
