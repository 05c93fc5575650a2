// The files that this person has open, kept in this browser for each room.
import { computed, effect, signal, type ReadonlySignal } from '@preact/signals'
import type { FileEntry } from '../doc/files.ts'
import type { Place } from '../editor/place.ts'
import { keep, load, local } from '../identity.ts'

const KEY = 'corun.tabs.'

interface Kept {
  open: string[]
  shown: string
}

export class Tabs {
  /** Where this person was in each file. */
  readonly places = new Map<string, Place>()
  private readonly ids = signal<readonly string[]>([])
  readonly files: ReadonlySignal<FileEntry[]>
  private readonly stop: () => void

  /** choose opens a file; shown is the one that is open. */
  constructor(
    private readonly room: string,
    all: ReadonlySignal<FileEntry[]>,
    private readonly shown: ReadonlySignal<FileEntry | undefined>,
    private readonly choose: (id: string) => void,
  ) {
    const kept = load<Partial<Kept>>(local, KEY + room)
    this.ids.value = Array.isArray(kept?.open) ? kept.open.filter((id) => typeof id === 'string').slice(0, 200) : []
    if (typeof kept?.shown === 'string') choose(kept.shown)
    this.files = computed(() => this.ids.value.map((id) => all.value.find((f) => f.id === id)).filter((f) => f !== undefined))
    this.stop = effect(() => {
      const now = shown.value
      if (now === undefined) return
      if (!this.ids.value.includes(now.id)) this.ids.value = [...this.ids.value, now.id]
      keep(local, KEY + room, { open: [...this.ids.value], shown: now.id } satisfies Kept)
    })
  }

  /** Closes a tab; the last one stays, as there is always a file in the editor. */
  close(id: string): void {
    const open = this.files.value
    const at = open.findIndex((f) => f.id === id)
    const next = open[at + 1] ?? open[at - 1]
    if (at < 0 || next === undefined) return
    if (this.shown.value?.id === id) this.choose(next.id)
    this.ids.value = this.ids.value.filter((one) => one !== id)
  }

  forget(): void {
    keep(local, KEY + this.room, null)
  }

  destroy(): void {
    this.stop()
  }
}
