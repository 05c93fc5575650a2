// What the page makes of the shown run beyond its output: its code, the places that it
// names, and what a compiler said of them.
import { signal } from '@preact/signals'
import type { Run } from '../live/messages.ts'
import { RunCode, type RunCodeOptions } from './code.ts'
import { findProblems, type Place, type Problem } from './places.ts'

export interface Jump {
  file: string
  line: number
  column: number
}

export interface RunViewOptions extends RunCodeOptions {
  /** Opens a file in the editor. */
  open(file: string): void
  /** The lines of all that a run has printed that was over before this page knew of it. */
  transcript(run: number): Promise<string[]>
}

export class RunView {
  readonly code: RunCode
  /** What the compiler said, by file id, at the lines where that is now. */
  readonly problems = signal<ReadonlyMap<string, Problem[]>>(new Map())
  /** Where the editor is asked to go; null when it is there. */
  readonly jump = signal<Jump | null>(null)
  /** Counts the jumps, for what must come into sight before the editor can go there. */
  readonly jumps = signal(0)
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

  /** Goes to where a line that was printed is now; false when that is nowhere. */
  async goTo({ path, line, column }: Place): Promise<boolean> {
    const now = await this.code.placeNow(path, line)
    if (now === null) return false
    this.goToFile({ ...now, column })
    return true
  }

  goToFile(jump: Jump): void {
    this.opts.open(jump.file)
    this.jumps.value++
    this.jump.value = { ...jump }
  }

  /** Takes up a jump: true for the one editor that does. */
  arrive(jump: Jump): boolean {
    if (this.jump.value !== jump) return false
    this.jump.value = null
    return true
  }

  private turnTo(run: number): void {
    if (this.run === run) return
    this.run = run
    if (this.problems.value.size > 0) this.problems.value = new Map()
  }
}

/** Interpreters end like any program when they cannot read the code. */
const mayHaveProblems = (run: Run): boolean => run.status === 'compile_failed' || (run.status === 'exited' && run.exit_code !== 0)
