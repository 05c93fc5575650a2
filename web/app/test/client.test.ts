import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Backoff } from '../src/live/backoff.ts'
import { LiveClient, type Ending, type Link } from '../src/live/client.ts'

/** A socket that the test is the other end of. */
class FakeSocket {
  static made: FakeSocket[] = []
  readyState = 0
  binaryType = ''
  sent: unknown[] = []
  onmessage: ((e: { data: unknown }) => void) | null = null
  onclose: ((e: { code: number }) => void) | null = null
  readonly query: URLSearchParams
  constructor(url: string) {
    this.query = new URL(url).searchParams
    FakeSocket.made.push(this)
  }
  send(data: unknown): void { this.sent.push(data) }
  close(): void { this.readyState = 3 }
  hello(resume: string): void {
    this.readyState = 1
    this.onmessage?.({ data: JSON.stringify({ type: 'hello', resume, participants: [] }) })
  }
  drop(code: number): void {
    this.readyState = 3
    this.onclose?.({ code })
  }
}

/** Timers that run when the test says so. */
class FakeClock {
  private readonly real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout }
  private waiting = new Map<number, { at: number; fn: () => void }>()
  private now = 0
  private next = 1
  install(): void {
    globalThis.setTimeout = ((fn: () => void, ms = 0) => {
      this.waiting.set(this.next, { at: this.now + ms, fn })
      return this.next++
    }) as never
    globalThis.clearTimeout = ((id: number) => { this.waiting.delete(id) }) as never
  }
  restore(): void { Object.assign(globalThis, this.real) }
  tick(ms: number): void {
    this.now += ms
    for (const [id, { at, fn }] of [...this.waiting]) {
      if (at <= this.now && this.waiting.delete(id)) fn()
    }
  }
}

function connect(t: { after(fn: () => void): void }, probe: 'ok' | 'gone' | 'unknown' = 'ok') {
  FakeSocket.made = []
  const clock = new FakeClock()
  clock.install()
  const seen = { links: [] as Link[], endings: [] as Ending[], resumes: [] as (string | null)[], types: [] as string[] }
  const client = new LiveClient({
    url: 'ws://server/live/room', token: 'tok', name: 'Ada', hue: 7, resume: null, session: 'secret',
    onMessage: (msg) => seen.types.push(msg.type),
    onOutput: () => undefined,
    onLink: (link) => seen.links.push(link),
    onEnding: (ending) => seen.endings.push(ending),
    onResume: (resume) => seen.resumes.push(resume),
    probe: () => Promise.resolve(probe),
    WebSocket: FakeSocket as unknown as typeof WebSocket,
    backoff: new Backoff(100, 1_000, () => 0),
  })
  client.open()
  t.after(() => { client.close(); clock.restore() })
  const last = (): FakeSocket => FakeSocket.made.at(-1) as FakeSocket
  return { client, seen, last, clock }
}

test('waits double up to a cap, and begin anew after a success', () => {
  const b = new Backoff(100, 1_000, () => 1)
  assert.deepEqual([b.next(), b.next(), b.next(), b.next(), b.next(), b.next()], [100, 200, 400, 800, 1_000, 1_000])
  b.reset()
  assert.equal(b.next(), 100)
  assert.equal(new Backoff(100, 1_000, () => 0).next(), 50)
})

test('a lost connection comes back as the same person', (t) => {
  const { seen, last, clock } = connect(t)
  assert.deepEqual([last().query.get('token'), last().query.get('name'), last().query.get('hue'), last().query.get('session'), last().query.get('resume')], ['tok', 'Ada', '7', 'secret', null])
  last().hello('proof')
  last().drop(1006)
  assert.equal(FakeSocket.made.length, 1)
  clock.tick(50)
  assert.equal(FakeSocket.made.length, 2)
  assert.equal(last().query.get('resume'), 'proof')
  last().hello('proof')
  assert.deepEqual(seen.links, ['connecting', 'open', 'waiting', 'connecting', 'open'])
  assert.deepEqual(seen.endings, [])
})

for (const [code, ending] of [[4403, 'removed'], [4410, 'ended']] as const) {
  test(`close code ${code} is final: ${ending}`, (t) => {
    const { seen, last, clock } = connect(t)
    last().hello('proof')
    last().drop(code)
    clock.tick(60_000)
    assert.deepEqual(seen.endings, [ending])
    assert.equal(FakeSocket.made.length, 1)
  })
}

test('who was replaced by another tab comes back as somebody else', (t) => {
  const { seen, last, clock } = connect(t)
  last().hello('proof')
  last().drop(4409)
  clock.tick(50)
  assert.equal(last().query.get('resume'), null)
  assert.equal(seen.resumes.at(-1), null)
})

test('a refused handshake is final only when the room is gone', async (t) => {
  const refused = connect(t, 'gone')
  refused.last().drop(1006)
  await Promise.resolve()
  assert.deepEqual(refused.seen.endings, ['not_found'])
})

test('a server that is away is tried again', async (t) => {
  const away = connect(t, 'unknown')
  away.last().drop(1006)
  await Promise.resolve()
  away.clock.tick(50)
  assert.equal(FakeSocket.made.length, 2)
  assert.deepEqual(away.seen.endings, [])
})

test('nothing is sent while there is no connection, and a paste goes in pieces', (t) => {
  const { client, last } = connect(t)
  assert.equal(client.send({ type: 'driver.take' }), false)
  last().hello('proof')
  assert.equal(client.send({ type: 'driver.take' }), true)
  last().sent = []
  assert.equal(client.input(1, 'x'.repeat(150_000)), true)
  assert.equal(last().sent.length, 3)
  const sizes = last().sent.map((f) => (f as Uint8Array).length - 5)
  assert.equal(sizes.reduce((a, b) => a + b), 150_000)
  assert.ok(Math.max(...sizes) <= 65_536)
})

test('what is no message is passed over', (t) => {
  const { seen, last } = connect(t)
  last().hello('proof')
  for (const data of ['', '{', 'null', '[]', '{"type":1}', '{}']) last().onmessage?.({ data })
  assert.deepEqual(seen.types, ['hello'])
})
