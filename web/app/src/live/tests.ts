// What the page knows of a room's tests: the cases as this person may see them, and
// what became of each in the last run of them. No socket, no DOM.
import { signal } from '@preact/signals'
import type { Run, RunStatus, ServerMessage, Usage } from './messages.ts'

export type Match = 'trimmed' | 'exact' | 'regex' | 'numeric' | 'checker'

/** All that others than hosts see of a hidden case. */
export interface CaseInShort {
  id: string
  name: string
  points: number
  hidden: boolean
}

export interface Checker {
  language: string
  source?: string
  files?: { path: string; content: string }[]
}

export interface CaseLimits {
  wall_ms?: number
  cpu_ms?: number
  memory_bytes?: number
}

export interface TestCase extends CaseInShort {
  stdin: string
  args: string[]
  match: Match
  expected: string
  tolerance?: number
  checker?: Checker
  limits?: CaseLimits
}

export type SeenCase = TestCase | CaseInShort
export const isWhole = (c: SeenCase): c is TestCase => 'match' in c

export type TestVerdict = 'passed' | 'wrong_output' | 'runtime_error' | 'checker_failed' | RunStatus

/** What became of a case. Of a hidden one others than hosts have the first five alone. */
export interface TestResult {
  id: string
  name: string
  hidden: boolean
  passed: boolean
  points: number
  max_points?: number
  verdict?: TestVerdict
  message?: string
  exit_code?: number | null
  signal?: string | null
  usage?: Usage
  stdout?: string
  stderr?: string
}

export interface TestsSummary {
  total: number
  done: number
  passed: number
  failed: number
  points: number
  max_points: number
}

export type TestsServerMessage =
  | { type: 'tests.updated'; cases: CaseInShort[] }
  | { type: 'test.result'; run: Run; case: TestResult }

export interface TestsSource {
  cases(): Promise<SeenCase[]>
  results(run: number): Promise<{ tests: TestsSummary | null; results: TestResult[] }>
  /** The number of the last run of the tests, or null when there was none. */
  lastRun(): Promise<number | null>
}

export class Tests {
  readonly cases = signal<readonly SeenCase[]>([])
  /** By case. */
  readonly results = signal<ReadonlyMap<string, TestResult>>(new Map())
  /** The run that the results are of; 0 before there is one. */
  readonly run = signal(0)
  readonly summary = signal<TestsSummary | null>(null)
  /** Why something could not be read, in words, or ''. */
  readonly problem = signal('')

  constructor(private readonly source: TestsSource) {}

  receive(msg: ServerMessage): void {
    switch (msg.type) {
      case 'hello':
        void this.loadCases()
        void this.loadLast()
        break
      case 'tests.updated':
        void this.loadCases()
        break
      case 'run.queued':
      case 'run.started':
        if (msg.run.mode === 'tests') this.turnTo(msg.run)
        break
      case 'test.result':
        if (msg.run.number < this.run.value) break
        this.turnTo(msg.run)
        this.results.value = new Map(this.results.value).set(msg.case.id, msg.case)
        break
      case 'run.exited':
        if (msg.run.mode !== 'tests' || msg.run.number < this.run.value) break
        this.turnTo(msg.run)
        // Again, with more of what was printed, and with whatever came while this page was away.
        void this.loadResults(msg.run.number)
        break
    }
  }

  private turnTo(run: Run): void {
    if (run.number > this.run.value) {
      this.run.value = run.number
      this.results.value = new Map()
    }
    if (run.number === this.run.value) this.summary.value = run.tests ?? this.summary.value
  }

  private async loadCases(): Promise<void> {
    await this.attempt(async () => { this.cases.value = await this.source.cases() })
  }

  private async loadLast(): Promise<void> {
    await this.attempt(async () => {
      const run = await this.source.lastRun()
      if (run === null || run < this.run.value) return
      this.run.value = run
      await this.loadResults(run)
    })
  }

  private async loadResults(run: number): Promise<void> {
    await this.attempt(async () => {
      const { tests, results } = await this.source.results(run)
      if (run !== this.run.value) return
      const all = new Map(this.results.value)
      for (const result of results) all.set(result.id, result)
      this.results.value = all
      this.summary.value = tests ?? this.summary.value
    })
  }

  private async attempt(read: () => Promise<void>): Promise<void> {
    try {
      await read()
      this.problem.value = ''
    } catch (err) {
      this.problem.value = err instanceof Error ? err.message : String(err)
    }
  }
}
