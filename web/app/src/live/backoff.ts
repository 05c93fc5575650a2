/** Waits between attempts to connect: doubling, capped, spread so that everybody
 * who lost the same server does not come back in the same instant. */
export class Backoff {
  private attempt = 0

  constructor(
    private readonly firstMs = 250,
    private readonly maxMs = 8_000,
    private readonly random: () => number = Math.random,
  ) {}

  /** The next wait, in milliseconds: between half and all of the doubled one. */
  next(): number {
    const full = Math.min(this.maxMs, this.firstMs * 2 ** this.attempt)
    this.attempt++
    return Math.round(full / 2 + (this.random() * full) / 2)
  }

  reset(): void {
    this.attempt = 0
  }
}
