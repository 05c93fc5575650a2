// The page's languages: each has every word, and says with it what English says.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { localeOf, preferred } from '../src/language.ts'
import { counted, numbers } from '../src/plural.ts'
import { german } from '../src/strings-de.ts'
import { bytes, duration, english, t, testVerdict, words } from '../src/strings.ts'

type Leaf = string | ((...args: unknown[]) => string)

/** Every word of a language by its path. */
function leaves(value: unknown, path = ''): Map<string, Leaf> {
  if (typeof value === 'string' || typeof value === 'function') return new Map([[path, value as Leaf]])
  assert.ok(typeof value === 'object' && value !== null, path)
  return new Map(Object.entries(value).flatMap(([key, inner]) => [...leaves(inner, path === '' ? key : `${path}.${key}`)]))
}

const en = leaves(english)
const de = leaves({ ...german, phrases: {} })

/** What a function may be given, by its path where that is no name and no number. */
const given = (path: string, of: Leaf): unknown[][] => {
  if (path === 'tests.summary') return [[{ passed: 31, total: 47, points: 53, max_points: 67 }]]
  if (path === 'lobby.who') return [[['Ada', 'Bob']], [['Ada']]]
  if (path === 'shareRenewConfirm') return [['host'], ['guest'], ['viewer']]
  const names = Array.from({ length: 2 }, (_, i) => `«${i}»`)
  return typeof of === 'function' ? [names, [1, 1], [31, 47], ['«0»', 31], [47, '«1»'], [31, '«0»'], ['31', '«0»']] : []
}

/** Sentinels in a text: quoted names, and numbers but 1, which is written out in places. */
const sentinels = (text: string): string[] => (text.match(/«\d»|\b(31|47|53|67)\b|Ada|Bob/g) ?? []).sort()

test('every language has the same words', () => {
  assert.deepEqual([...de.keys()].sort(), [...en.keys()].sort())
  for (const [path, word] of en) assert.equal(typeof de.get(path), typeof word, path)
})

test('what is filled in is filled in everywhere', () => {
  let compared = 0
  for (const [path, word] of en) {
    const other = de.get(path)
    if (typeof word !== 'function' || typeof other !== 'function') continue
    for (const args of given(path, word)) {
      const run = (fn: (...args: unknown[]) => string): string | null => {
        try { return fn(...args) } catch { return null } // given what it does not take
      }
      const one = run(word as (...args: unknown[]) => string)
      const two = run(other as (...args: unknown[]) => string)
      if (one === null || two === null) continue
      assert.deepEqual(sentinels(two), sentinels(one), `${path}: ${one} / ${two}`)
      compared++
    }
  }
  assert.ok(compared > 100, `only ${compared} compared`)
})

test('no word is empty or left in English', () => {
  const alike = new Set<string>()
  for (const [path, word] of en) {
    if (typeof word !== 'string') continue
    const other = de.get(path) as string
    assert.equal(other === '', word === '', path)
    if (other === word && /[a-z] [a-z]/.test(word)) alike.add(path)
    assert.doesNotMatch(other, /\.\.\.|[“”](?=\w)|\b([Dd]u|[Dd]ein\w*|[Dd]ich|[Dd]ir)\b/, path)
  }
  assert.deepEqual([...alike], [])
})

test('the first language of the browser that there is', () => {
  assert.equal(preferred(['de-AT', 'en']), 'de')
  assert.equal(preferred(['fr', 'de']), 'de')
  assert.equal(preferred(['en-US', 'de']), 'en')
  assert.equal(preferred(['DE']), 'de')
  assert.equal(preferred(['fr']), 'en')
  assert.equal(preferred([]), 'en')
  assert.equal(preferred(['den-DE']), 'en')
  assert.equal(localeOf('de', ['en', 'de-AT', 'de']), 'de-AT')
  assert.equal(localeOf('de', ['en']), 'de')
})

test('numbers and plurals are the language’s', () => {
  const one = counted('de')
  assert.deepEqual([0, 1, 2].map((n) => one(n, 'eins', 'viele')), ['viele', 'eins', 'viele'])
  assert.equal(numbers('de', 1234.5), '1234,5')
  assert.equal(numbers('en', 1234.5), '1234.5')
  assert.equal(german.runs.edits(1), 'Ausgabe ist 1 Änderung alt')
  assert.equal(german.tests.pointsOf(0.5, 2), '0,5 / 2')
  try {
    words.value = german
    assert.equal(t.run, 'Ausführen')
    assert.equal(bytes(1536), '1,5 KiB')
    assert.equal(duration(1_234), '1,23 s')
    assert.equal(testVerdict({ id: 'a', name: 'a', hidden: false, passed: false, points: 0, verdict: 'memory_limit' }), 'Speicher verbraucht')
  } finally {
    words.value = english
  }
  assert.equal(bytes(1536), '1.5 KiB')
})
