// A test case while a host edits it: what the form's fields hold, and back.
import { joinArgs, splitArgs } from '../runs/options.ts'
import type { CaseLimits, Checker, Match, TestCase } from '../live/tests.ts'
import { t } from '../strings.ts'

export interface Draft {
  /** Of the form alone: stays while cases are moved. */
  key: string
  id: string
  name: string
  hidden: boolean
  points: string
  stdin: string
  /** One a line. */
  args: string
  match: Match
  expected: string
  tolerance: string
  checkerLanguage: string
  checkerSource: string
  /** Of a checker of several files, which the form leaves as they are. */
  checkerFiles: Checker['files']
  /** Seconds, and mebibytes; '' leaves a run's. */
  wall: string
  cpu: string
  memory: string
}

const MIB = 1 << 20
let keys = 0

export const emptyDraft = (name: string, language: string): Draft => ({
  key: `k${++keys}`, id: '', name, hidden: false, points: '1', stdin: '', args: '', match: 'trimmed', expected: '', tolerance: '1e-6',
  checkerLanguage: language, checkerSource: '', checkerFiles: undefined, wall: '', cpu: '', memory: '',
})

const number = (value: number | undefined, unit = 1): string => (value === undefined || value === 0 ? '' : String(value / unit))

export function draftOf(c: TestCase, language: string): Draft {
  return {
    ...emptyDraft(c.name, language),
    id: c.id, hidden: c.hidden, points: String(c.points), stdin: c.stdin, args: joinArgs(c.args), match: c.match, expected: c.expected,
    tolerance: c.tolerance === undefined ? '0' : String(c.tolerance),
    checkerLanguage: c.checker?.language ?? language, checkerSource: c.checker?.source ?? '', checkerFiles: c.checker?.files,
    wall: number(c.limits?.wall_ms, 1000), cpu: number(c.limits?.cpu_ms, 1000), memory: number(c.limits?.memory_bytes, MIB),
  }
}

/** What is wrong with a draft: the field, and why in words. */
export interface DraftProblem {
  field: keyof Draft
  words: string
}

/** The number that a field holds; undefined when it is empty, NaN when it is none. */
function read(text: string): number | undefined {
  const plain = text.trim().replace(',', '.')
  if (plain === '') return undefined
  return /^\d*\.?\d+(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : NaN
}

export function problemOf(draft: Draft): DraftProblem | null {
  const wrong = (field: keyof Draft, words: string): DraftProblem => ({ field, words })
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(draft.name)) return wrong('name', t.tests.nameBad)
  if (new TextEncoder().encode(draft.name.trim()).length > 200) return wrong('name', t.tests.nameLong)
  const args = splitArgs(draft.args)
  if ('unclosed' in args) return wrong('args', t.tests.argsBad(t.runs.unclosed[args.unclosed]))
  if (!Number.isFinite(read(draft.points) ?? NaN)) return wrong('points', t.tests.pointsBad)
  if (draft.match === 'numeric' && Number.isNaN(read(draft.tolerance))) return wrong('tolerance', t.tests.toleranceBad)
  if (draft.match === 'checker' && draft.checkerFiles === undefined && draft.checkerSource.trim() === '') return wrong('checkerSource', t.tests.checkerMissing)
  for (const field of ['wall', 'cpu', 'memory'] as const) {
    const value = read(draft[field])
    if (value !== undefined && !(value > 0)) return wrong(field, t.tests.limitBad)
  }
  return null
}

/** The case that a draft without a problem stands for. */
export function caseOf(draft: Draft): TestCase {
  const limits: CaseLimits = {}
  const args = splitArgs(draft.args)
  const [wall, cpu, memory] = [read(draft.wall), read(draft.cpu), read(draft.memory)]
  if (wall !== undefined) limits.wall_ms = wall * 1000
  if (cpu !== undefined) limits.cpu_ms = cpu * 1000
  if (memory !== undefined) limits.memory_bytes = Math.round(memory * MIB)
  const made: TestCase = {
    id: draft.id, name: draft.name.trim(), hidden: draft.hidden, points: read(draft.points) ?? 0, stdin: draft.stdin,
    args: 'args' in args ? args.args : [], match: draft.match, expected: draft.match === 'checker' ? '' : draft.expected,
  }
  if (Object.keys(limits).length > 0) made.limits = limits
  if (draft.match === 'numeric') made.tolerance = read(draft.tolerance) ?? 0
  if (draft.match === 'checker') {
    made.checker = draft.checkerFiles === undefined
      ? { language: draft.checkerLanguage, source: draft.checkerSource }
      : { language: draft.checkerLanguage, files: draft.checkerFiles }
  }
  return made
}
