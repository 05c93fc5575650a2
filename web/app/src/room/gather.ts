// "Bring everyone here": a host says by awareness where everybody should look, in a
// field of its own that other clients pass over.
import { signal } from '@preact/signals'
import type { Awareness } from 'y-protocols/awareness'
import type { Spot } from './navigation.ts'

/** The field of awareness. The counter tells a call from one that was heard. */
export interface Call {
  n: number
  /** The participant who calls. */
  by: string
  file: string
  /** A relative position in base64. */
  anchor: string
}

export interface Brought {
  /** The name of who brought this person here. */
  by: string
  back: Spot | null
}

/** What a peer sent, if it is a call. */
export function readCall(value: unknown): Call | null {
  if (typeof value !== 'object' || value === null) return null
  const { n, by, file, anchor } = value as Record<string, unknown>
  if (typeof n !== 'number' || typeof by !== 'string' || typeof file !== 'string' || typeof anchor !== 'string') return null
  return { n, by, file, anchor }
}

export interface GatherOptions {
  awareness: Awareness
  /** A host's name, by participant id; null for others, who are not followed. */
  hostName(participant: string): string | null
  /** Goes where a call says and gives where this person was; false when that is nowhere here. */
  go(call: Call): { back: Spot | null } | false
}

const FIELD = 'bring'

export class Gather {
  /** By whom this person was brought where they are, until they have seen that. */
  readonly brought = signal<Brought | null>(null)
  private readonly heard = new Map<number, number>()

  constructor(private readonly opts: GatherOptions) {
    opts.awareness.on('change', this.listen)
  }

  call(call: Omit<Call, 'n'>): void {
    const before = readCall(this.opts.awareness.getLocalState()?.[FIELD])
    this.opts.awareness.setLocalStateField(FIELD, { ...call, n: (before?.n ?? 0) + 1 } satisfies Call)
  }

  close(): void {
    this.opts.awareness.off('change', this.listen)
  }

  private readonly listen = ({ added, updated }: { added: number[]; updated: number[] }): void => {
    for (const client of [...added, ...updated]) {
      if (client === this.opts.awareness.clientID) continue
      const call = readCall(this.opts.awareness.getStates().get(client)?.[FIELD])
      const before = this.heard.get(client)
      this.heard.set(client, call?.n ?? 0)
      // Who is new hears of calls that were made before they came, or before they came back.
      if (call === null || before === undefined || call.n <= before) continue
      const by = this.opts.hostName(call.by)
      if (by === null) continue
      const went = this.opts.go(call)
      if (went !== false) this.brought.value = { by, back: this.brought.value?.back ?? went.back }
    }
  }
}
