// What a screen reader is told, no faster than it can be heard: when much happens at
// once the newest counts.

/** The least time between two announcements. */
const EVERY_MS = 2_000

/** What tells the time, and calls back after some of it unless it is told not to. */
export interface Clock {
  now(): number
  after(ms: number, fn: () => void): () => void
}

const realClock: Clock = {
  now: () => performance.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}

export class Announcer {
  private waiting: string | null = null
  private last = -Infinity
  private cancel: (() => void) | null = null

  constructor(private readonly tell: (words: string) => void, private readonly clock: Clock = realClock) {}

  say(words: string): void {
    this.waiting = words
    if (this.cancel !== null) return
    const wait = this.last + EVERY_MS - this.clock.now()
    if (wait <= 0) this.speak()
    else this.cancel = this.clock.after(wait, () => this.speak())
  }

  close(): void {
    this.cancel?.()
    this.cancel = null
    this.waiting = null
  }

  private speak(): void {
    this.cancel = null
    if (this.waiting === null) return
    this.last = this.clock.now()
    this.tell(this.waiting)
    this.waiting = null
  }
}
