// What a program printed beside what was expected, line by line.
import type { Match } from '../live/tests.ts'

export interface DiffLine {
  /** missing: expected and not printed; extra: printed and not expected. */
  kind: 'same' | 'missing' | 'extra'
  text: string
}

/** So many comparisons at most: beyond that the two are shown as they are. */
const MOST_STEPS = 400_000

/** Lines as a match takes them: for 'trimmed' what it does not look at is left out. */
export function linesFor(match: Match, text: string): string[] {
  if (match !== 'trimmed') return text.split('\n')
  const lines = text.replaceAll('\r\n', '\n').split('\n').map((line) => line.trimEnd())
  while (lines.length > 0 && lines[lines.length - 1] === '') lines.pop()
  return lines
}

/** How one becomes the other, or null when they are too long to find out. */
export function diff(expected: readonly string[], printed: readonly string[]): DiffLine[] | null {
  let head = 0
  while (head < expected.length && head < printed.length && expected[head] === printed[head]) head++
  let tail = 0
  while (tail < expected.length - head && tail < printed.length - head && expected[expected.length - 1 - tail] === printed[printed.length - 1 - tail]) tail++
  const middle = between(expected.slice(head, expected.length - tail), printed.slice(head, printed.length - tail))
  if (middle === null) return null
  const same = (text: string): DiffLine => ({ kind: 'same', text })
  return [...expected.slice(0, head).map(same), ...middle, ...expected.slice(expected.length - tail).map(same)]
}

/** By the longest common subsequence. */
function between(a: readonly string[], b: readonly string[]): DiffLine[] | null {
  if (a.length * b.length > MOST_STEPS) return null
  // common[i][j] is its length from a[i] and b[j] on.
  const common = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1))
  const at = (i: number, j: number): number => common[i]?.[j] ?? 0
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i]![j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const lines: DiffLine[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ kind: 'same', text: a[i]! })
      i++
      j++
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ kind: 'missing', text: a[i++]! })
    } else {
      lines.push({ kind: 'extra', text: b[j++]! })
    }
  }
  return lines
}

/** White space that nobody sees, where it is what makes the difference. */
export const visible = (text: string): string =>
  text.replace(/\r/g, '␍').replace(/[ \t]+$/, (spaces) => spaces.replaceAll(' ', '·').replaceAll('\t', '→'))
