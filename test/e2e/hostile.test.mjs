// Clients that do their worst on /sync, while others work. A stock pair in another room goes
// on seeing each other's edits, so does one in the room that is attacked; the server's
// memory stays bounded; nothing of the attack is left afterwards.
//
// CORUN_SOAK=1 makes it long, one attack at a time, and prints how long the pair took quiet
// and under each attack. How long is not asserted.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import * as Y from 'yjs'
import { docUntil, syncClient, within } from './clients.mjs'
import { startServer } from './server.mjs'

const soak = !!process.env.CORUN_SOAK
/** How much more memory the server may have at any time during an attack. */
const maxGrowth = 200 << 20

let server
let quiet
const table = []

before(async () => {
  server = await startServer({ args: ['--open-rooms', '--trust-proxy', '--pool', '1', '--pool-memory', '8MiB'] })
})
after(async () => {
  await server?.stop()
  if (!soak) return
  const ms = (n) => n.toFixed(2).padStart(9)
  console.log(`${'an edit seen by another, ms'.padEnd(42)}${['p50', 'p99', 'worst', 'edits', 'MiB more'].map((h) => h.padStart(10)).join('')}`)
  for (const { name, took, growth } of table) {
    const at = (q) => took[Math.min(took.length - 1, Math.floor(q * took.length))]
    took.sort((a, b) => a - b)
    console.log(`${name.padEnd(42)}${[at(0.5), at(0.99), at(1)].map((n) => ' ' + ms(n)).join('')}${String(took.length).padStart(10)}${String(Math.round(growth / 2 ** 20)).padStart(10)}`)
  }
})

/** Two stock clients of a room: one edits, the other sees it. */
class Pair {
  static async join(room) {
    const pair = new Pair()
    pair.a = syncClient(server, room, undefined, { version: '3' })
    pair.b = syncClient(server, room, undefined, { version: '2' })
    pair.took = []
    pair.n = 0
    pair.shown = 0 // updates, to both
    for (const { provider } of [pair.a, pair.b]) {
      const take = provider.messageHandlers[0]
      provider.messageHandlers[0] = (encoder, decoder, ...rest) => {
        if (decoder.arr[decoder.pos] === 2) pair.shown++
        take(encoder, decoder, ...rest)
      }
    }
    await Promise.all([pair.a.synced(), pair.b.synced()])
    return pair
  }

  async edit() {
    const n = ++this.n
    const [from, to] = [this.a.doc.getMap('pair'), this.b.doc.getMap('pair')]
    const begin = performance.now()
    await within(new Promise((resolve) => {
      const look = () => { if (to.get('n') === n) { to.unobserve(look); resolve() } }
      to.observe(look)
      from.set('n', n)
    }), `edit ${n} to be seen`, 60_000)
    this.took.push(performance.now() - begin)
  }

  /** Edits until stop, one after the other. */
  start() {
    this.stopped = false
    this.edits = (async () => {
      while (!this.stopped) {
        await this.edit()
        await new Promise((resolve) => setTimeout(resolve, 2)) // an editor, not a flood
      }
    })()
    this.edits.catch(() => {}) // told by stop
  }

  async stop() { this.stopped = true; await this.edits }

  close() { this.a.close(); this.b.close() }
}

const status = () => Object.fromEntries(readFileSync(`/proc/${server.pid}/status`, 'utf8').split('\n').map((line) => line.split(/:\s*/, 2)))
const kilobytes = (field) => parseInt(status()[field]) * 1024

/** Most memory since the last call; the kernel keeps it. */
function peak() {
  const most = kilobytes('VmHWM')
  writeFileSync(`/proc/${server.pid}/clear_refs`, '5') // the peak is now what there is now
  return most
}

async function goroutines() {
  const text = await (await fetch(`${server.adminUrl}/metrics`)).text()
  return Number(/^go_goroutines (\d+)/m.exec(text)[1])
}

const descriptors = () => readdirSync(`/proc/${server.pid}/fd`).length

/** Runs an attack in a thread of its own. */
function attack(name, data) {
  const worker = new Worker(new URL('attacks.mjs', import.meta.url), { workerData: { port: server.port, attack: name, soak, ...data } })
  let said
  return within(new Promise((resolve, reject) => {
    worker.on('error', reject)
    worker.on('exit', () => (said?.failed ? reject(new Error(said.failed)) : said ? resolve(said.done) : reject(new Error('the attack ended without a word'))))
    worker.on('message', (m) => { said = m })
  }), name, 300_000).finally(() => worker.terminate())
}

async function measured(name, during) {
  const pair = await Pair.join('elsewhere')
  try {
    process.kill(server.pid, 'SIGUSR2') // gives back what it does not need, so that the next has to take it again
    for (let i = 0; i < 20; i++) await pair.edit() // all that is made once
    pair.took.length = 0
    const before = kilobytes('VmRSS')
    peak()
    pair.start()
    const said = await during()
    await pair.stop()
    for (let i = 0; i < 20; i++) await pair.edit()
    const growth = peak() - before
    table.push({ name, took: pair.took, growth })
    assert.deepEqual([...pair.a.closes, ...pair.b.closes], [], 'the pair in another room was cut off')
    assert.ok(growth < maxGrowth, `the server took ${growth >> 20} MiB more`)
    return { said, growth }
  } finally { pair.close() }
}

test('quiet', { skip: !soak }, async () => {
  await measured('quiet', () => new Promise((resolve) => setTimeout(resolve, 5000))) // what is measured takes time
})

/** An attack on a room with a pair in it. */
async function survive(t, name, { data = {}, check = async () => {}, mayLag = false } = {}) {
  const room = `attacked.${name.replace(/[^a-z0-9]/gi, '_')}`
  const inside = await Pair.join(room)
  const muted = console.error
  let refused = 0
  // What yjs says of an update that it cannot read; the server may read more than it.
  console.error = () => { refused++ }
  try {
    await inside.edit()
    const { said, growth } = await measured(name, () => attack(name, { room, ...data }))
    await inside.edit()
    const cut = [...inside.a.closes, ...inside.b.closes].filter((code) => !mayLag || code !== 1013)
    assert.deepEqual(cut, [], 'the pair in the room was cut off')
    await check(inside)
    t.diagnostic(`${said ? said + '; ' : ''}${growth >> 20} MiB${refused ? `; yjs refused ${refused}` : ''}`)
  } finally {
    console.error = muted
    inside.close()
  }
}

// Two that take their time, while all others go on.
const slow = ['slow handshakes', 'messages that come a byte a second']
let going
test('slow attacks begin', { skip: soak }, () => {
  going = slow.map((name) => attack(name, { room: 'slow' }))
  going.forEach((g) => g.catch(() => {})) // told below
})

for (const name of [
  'malformed', 'frames of absurd length', 'broken rules of web sockets', 'a message of 20 MB in 1 KB fragments', 'messages that never end',
  'a million awareness states', 'a reader that is slow', 'floods of pings',
  'sockets of which half is closed', 'a flood of connections',
]) test(name, (t) => survive(t, name))

// yjs merges all that waits with each update that comes, so that stock clients would be what
// stands still if they were told. What they hear is the pair's own edits.
test('3,000 updates with a missing past', (t) => survive(t, '3,000 updates with a missing past', {
  check: async (inside) => {
    assert.equal(inside.shown, inside.n, 'updates that the pair was shown')
    for (const { doc } of [inside.a, inside.b]) assert.deepEqual([doc.store.pendingStructs, doc.store.pendingDs], [null, null])
  },
}))

test('a reader that never reads', async (t) => {
  const name = 'a reader that never reads'
  await survive(t, name, {
    data: { megabytes: soak ? 300 : 60 },
    mayLag: true, // yjs takes long for so much; it must have all in the end
    check: async (inside) => {
      // Who reads has all that was written.
      const late = syncClient(server, `attacked.${name.replace(/[^a-z0-9]/gi, '_')}`)
      await late.synced()
      await docUntil(inside.b.doc, () => Y.equalSnapshots(Y.snapshot(inside.b.doc), Y.snapshot(late.doc)), 'the reader who reads')
      late.close()
    },
  })
})

if (soak) for (const name of slow) test(name, (t) => survive(t, name))
else test('slow attacks end, and others do not notice', async () => {
  await measured('slow', () => Promise.all(going))
})

test('nothing is left of all that', async () => {
  const room = await Pair.join('afterwards')
  await room.edit()
  room.close()
  const begin = Date.now()
  let left
  do {
    left = { goroutines: await goroutines(), descriptors: descriptors() }
    if (left.goroutines < 150 && left.descriptors < 100) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  } while (Date.now() - begin < 60_000)
  assert.fail(`there are still ${JSON.stringify(left)}`)
})
