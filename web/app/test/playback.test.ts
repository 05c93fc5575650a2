import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as Y from 'yjs'
import type { OutputFrame } from '../src/live/frames.ts'
import { after, loadLog, marksOf, readEntry, runsOf, type Log, type PlaybackPage } from '../src/playback/log.ts'
import { Player } from '../src/playback/player.ts'

const base64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))
const time = (ms: number): string => new Date(1_700_000_000_000 + ms).toISOString()

/** A log of one who types, runs and types again, as the server gives it. */
function pages(edits: number): PlaybackPage[] {
  const doc = new Y.Doc()
  doc.getMap('files').set('main', { path: 'main.py' })
  const begin = Y.encodeStateAsUpdate(doc)
  const person = { id: 'p_a', name: 'Ann', hue: 30, role: 'host' }
  const events: PlaybackPage['events'] = [
    { at: time(10), kind: 'open', data: {} },
    { at: time(10), kind: 'join', data: { participant: person } },
  ]
  let update: Uint8Array = new Uint8Array()
  doc.on('update', (u: Uint8Array) => { update = u })
  for (let i = 0; i < edits; i++) {
    doc.getText('file/main').insert(i, String(i % 10))
    events.push({ at: time(100 + i), kind: 'edit', data: { by: 'p_a', bytes: update.length, update: base64(update) } })
  }
  const run = { run: 1, started_by: 'p_a', started_by_name: 'Ann', mode: 'pipes', language: 'python' }
  events.push(
    { at: time(100_000), kind: 'run', data: { ...run, event: 'queued' } },
    { at: time(100_001), kind: 'driver', data: { driver: 'p_a', reason: 'granted' } },
    { at: time(100_002), kind: 'run', data: { run: 1, event: 'started' } },
    { at: time(100_003), kind: 'output', data: { run: 1, stream: 'stdout', offset: 0, bytes: 2, data: 'a\n' } },
    { at: time(100_004), kind: 'stdin', data: { run: 1, by: 'p_a', bytes: 2, data: 'x\n' } },
    { at: time(100_005), kind: 'output', data: { run: 1, stream: 'stdout', offset: 2, bytes: 1, base64: base64(new Uint8Array([0xff])) } },
    { at: time(100_006), kind: 'run', data: { run: 1, event: 'exited', status: 'exited', message: 'Done.' } },
    { at: time(100_007), kind: 'something', data: {} },
    { at: time(100_008), kind: 'leave', data: { participant: person } },
  )
  const page = (from: number, to: number, more: boolean): PlaybackPage => ({
    start: time(0), end: time(100_008), events: events.slice(from, to), next: String(to), more,
    ...(from === 0 ? { keyframe: { state: base64(begin) } } : {}),
  })
  return [page(0, 7, true), page(7, events.length, false)]
}

async function load(edits: number): Promise<Log> {
  const [first, second] = pages(edits) as [PlaybackPage, PlaybackPage]
  return loadLog((query) => Promise.resolve(query.includes('after=7') ? second : first), () => undefined)
}

// Node has no frames.
globalThis.cancelAnimationFrame ??= () => undefined

/** What the terminal shows. */
class Shown {
  text = ''
  clear(run: number): void { this.text = `<${run}>` }
  write(frame: OutputFrame): void { this.text += new TextDecoder('latin1').decode(frame.data) }
  echo(text: string): void { this.text += `[${text.trim()}]` }
}

test('a log is loaded page by page', async () => {
  const log = await load(20)
  assert.equal(log.entries.length, 1 + 2 + 20 + 9)
  assert.deepEqual([...log.people.keys()], ['p_a'])
  assert.equal(log.end - log.start, 100_008)
  assert.deepEqual(runsOf(log).map(({ run, from, to, status }) => [run, from - log.start, to - log.start, status]), [[1, 100_000, 100_006, 'exited']])
  assert.deepEqual(marksOf(log, 10), [{ piece: 0, by: 'p_a', paste: false }])
  assert.equal(after(log.entries, log.start - 1), 0)
  assert.equal(after(log.entries, log.end), log.entries.length)
})

test('an entry of a kind that is not known is no error', () => {
  assert.deepEqual(readEntry({ at: time(0), kind: 'new', data: { x: 1 } }), { at: 1_700_000_000_000, kind: 'other', name: 'new' })
})

test('every moment is shown as it was, forwards and backwards', async () => {
  const log = await load(2_500) // more than is kept at once
  const shown = new Shown()
  const player = new Player(log, shown)
  const at = (ms: number): string => {
    player.seek(log.start + ms)
    const { people, driver, run } = player.state.value
    const text = player.doc.value.getText('file/main').toString()
    return `${text.length} ${text.slice(-2)} ${people.map((p) => p.name).join()} ${driver ?? '-'} ${run?.state ?? '-'} ${shown.text}`
  }
  const moments: [number, string][] = [
    [0, '0   - - '], [10, '0  Ann - - '], [100, '1 0 Ann - - '], [1_099, '1000 89 Ann - - '], [2_599, '2500 89 Ann - - '],
    [100_003, '2500 89 Ann p_a running <1>a\n'], [100_004, '2500 89 Ann p_a running <1>a\n[x]'],
    [100_006, '2500 89 Ann p_a finished <1>a\n[x]\xff'], [100_008, '2500 89  p_a finished <1>a\n[x]\xff'],
  ]
  for (const [ms, want] of moments) assert.equal(at(ms), want, `forwards to ${ms}`)
  for (const [ms, want] of moments.toReversed()) assert.equal(at(ms).replace('<0>', ''), want, `backwards to ${ms}`)
  for (let i = 0; i < 50; i++) {
    const [ms, want] = moments[(i * 7) % moments.length] as [number, string]
    assert.equal(at(ms).replace('<0>', ''), want, `jump to ${ms}`)
  }
  assert.deepEqual(player.files.value, [{ id: 'main', path: 'main.py' }])
  player.close()
})

test('pauses are passed over, and the end stops', async () => {
  const log = await load(5)
  const player = new Player(log, new Shown())
  player.seek(log.start + 104)
  player.advance(10)
  assert.equal(player.time.value - log.start, 100_000 - 500)
  player.skipIdle.value = false
  player.seek(log.start + 104)
  player.advance(10)
  assert.equal(player.time.value - log.start, 114)
  player.playing.value = true

  player.advance(1e9)
  assert.equal(player.time.value, log.end)
  assert.equal(player.playing.value, false)
})
