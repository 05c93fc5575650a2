// Where the lines of a text are in a later version of it.

/** Lines [from, to) of the old text that became lines [nowFrom, nowTo) of the new one; counted from 0. */
export interface Hunk {
  from: number
  to: number
  nowFrom: number
  nowTo: number
}

/** Beyond so many differences the rest is taken for one. */
const MAX_EDITS = 600

export const linesOf = (text: string): string[] => text.split('\n')

/** What differs between two texts, line by line, in order (Myers' greedy algorithm). */
export function diffLines(old: readonly string[], now: readonly string[]): Hunk[] {
  let head = 0
  while (head < old.length && head < now.length && old[head] === now[head]) head++
  let tail = 0
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++
  const n = old.length - head - tail
  const m = now.length - head - tail
  if (n === 0 && m === 0) return []
  const whole: Hunk = { from: head, to: head + n, nowFrom: head, nowTo: head + m }
  if (n === 0 || m === 0) return [whole]
  const steps = shortest(n, m, (a, b) => old[head + a] === now[head + b])
  return steps === null ? [whole] : hunksOf(steps, head, n, m)
}

/** The lines that stay, as pairs of places in both texts, or null when there are too many differences. */
function shortest(n: number, m: number, same: (a: number, b: number) => boolean): [number, number][] | null {
  const most = Math.min(n + m, MAX_EDITS)
  const reach = new Int32Array(2 * most + 3)
  const trace: Int32Array[] = []
  const at = (k: number): number => reach[k + most + 1] ?? 0
  for (let d = 0; d <= most; d++) {
    trace.push(reach.slice())
    for (let k = -d; k <= d; k += 2) {
      let a = k === -d || (k !== d && at(k - 1) < at(k + 1)) ? at(k + 1) : at(k - 1) + 1
      let b = a - k
      while (a < n && b < m && same(a, b)) { a++; b++ }
      reach[k + most + 1] = a
      if (a >= n && b >= m) return walkBack(trace, most, n, m)
    }
  }
  return null
}

function walkBack(trace: readonly Int32Array[], most: number, n: number, m: number): [number, number][] {
  const kept: [number, number][] = []
  let a = n
  let b = m
  for (let d = trace.length - 1; d >= 0; d--) {
    const reach = trace[d] as Int32Array
    const at = (k: number): number => reach[k + most + 1] ?? 0
    const k = a - b
    const from = k === -d || (k !== d && at(k - 1) < at(k + 1)) ? k + 1 : k - 1
    const startA = at(from)
    const startB = startA - from
    while (a > startA && b > startB) kept.push([--a, --b])
    a = startA
    b = startB
  }
  return kept.reverse()
}

function hunksOf(kept: readonly [number, number][], head: number, n: number, m: number): Hunk[] {
  const hunks: Hunk[] = []
  let a = 0
  let b = 0
  for (const [keptA, keptB] of [...kept, [n, m] as const]) {
    if (keptA > a || keptB > b) hunks.push({ from: head + a, to: head + keptA, nowFrom: head + b, nowTo: head + keptB })
    a = keptA + 1
    b = keptB + 1
  }
  return hunks
}

/**
 * Where a line of the old text is now, counted from 0. One that was changed is the line
 * among those in its place that is most like it; one that is gone is where it was.
 */
export function lineNow(old: readonly string[], now: readonly string[], line: number): number {
  let shift = 0
  for (const hunk of diffLines(old, now)) {
    if (line < hunk.from) break
    if (line < hunk.to) return Math.max(0, Math.min(within(hunk, old, now, line), now.length - 1))
    shift = hunk.nowTo - hunk.to
  }
  return Math.max(0, Math.min(line + shift, now.length - 1))
}

function within({ from, nowFrom, nowTo }: Hunk, old: readonly string[], now: readonly string[], line: number): number {
  const was = (old[line] ?? '').trim()
  const usual = Math.min(nowFrom + line - from, nowTo - 1)
  let best = Math.max(nowFrom, usual)
  let likeness = alike(was, (now[best] ?? '').trim())
  for (let at = nowFrom; at < nowTo; at++) {
    const found = alike(was, (now[at] ?? '').trim())
    if (found > likeness) [best, likeness] = [at, found]
  }
  return nowTo === nowFrom ? nowFrom : best
}

/** How much of two lines is the same at their ends, from 0 to 1. */
export function alike(a: string, b: string): number {
  if (a === '' || b === '') return a === b ? 1 : 0
  let head = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  let tail = 0
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
  return (head + tail) / Math.max(a.length, b.length)
}

export type Change = 'changed' | 'removed'

/** The lines of a text that an older one does not have, by number from 0; 'removed' where some are missing above one. */
export function changedLines(old: readonly string[], now: readonly string[]): Map<number, Change> {
  const marks = new Map<number, Change>()
  for (const { nowFrom, nowTo } of diffLines(old, now)) {
    if (nowFrom === nowTo) marks.set(Math.min(nowFrom, now.length - 1), 'removed')
    for (let line = nowFrom; line < nowTo; line++) marks.set(line, 'changed')
  }
  return marks
}
