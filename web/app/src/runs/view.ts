// What the page makes of the shown run beyond its output: its code, the places that it
// names, and what a compiler said of them.
import { signal } from '@preact/signals'
import type { Run } from '../live/messages.ts'
import type { Spot } from '../room/navigation.ts'
import { RunCode, type RunCodeOptions } from './code.ts'
import { findProblems, type Place, type Problem } from './places.ts'

export interface RunViewOptions extends RunCodeOptions {
  /** The lines of all that a run has printed that was over before this page knew of it. */
  transcript(run: number): Promise<string[]>
}

export class RunView {
  readonly code: RunCode
  /** What the compiler said, by file id, at the lines where that is now. */
  readonly problems = signal<ReadonlyMap<string, Problem[]>>(new Map())
  private run = 0

  constructor(private readonly opts: RunViewOptions) {
    this.code = new RunCode(opts)
  }

  close(): void {
    this.code.close()
  }

  /** A run that has just begun: what was said of the one before is over. */
  began(run: Run): void {
    this.turnTo(run.number)
    this.code.follow(run)
  }

  /** The room as it is after a connection: its last run, and how old that is. */
  async found(run: Run | null): Promise<void> {
    if (run === null) return
    this.turnTo(run.number)
    await this.code.recount(run)
    if (run.state === 'finished') await this.ended(run, () => this.opts.transcript(run.number).catch(() => []))
  }

  /** Puts what a compiler said where it belongs in the code. */
  async ended(run: Run, output: () => Promise<string[]>): Promise<void> {
    if (!mayHaveProblems(run)) return
    const said = findProblems(await output(), this.code.paths())
    if (said.length === 0) return
    const placed = new Map<string, Problem[]>()
    for (const problem of said) {
      const now = await this.code.placeNow(problem.path, problem.line)
      if (now !== null) placed.set(now.file, [...(placed.get(now.file) ?? []), { ...problem, line: now.line }])
    }
    if (this.run === run.number) this.problems.value = placed
  }

  /** Where a line that was printed is now: null when that is nowhere. */
  async spotOf({ path, line, column }: Place): Promise<Spot | null> {
    const now = await this.code.placeNow(path, line)
    return now === null ? null : { file: now.file, at: { line: now.line, column } }
  }

  private turnTo(run: number): void {
    if (this.run === run) return
    this.run = run
    if (this.problems.value.size > 0) this.problems.value = new Map()
  }
}

/** Interpreters end like any program when they cannot read the code. */
const mayHaveProblems = (run: Run): boolean => run.status === 'compile_failed' || (run.status === 'exited' && run.exit_code !== 0)
