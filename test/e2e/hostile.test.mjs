// Clients that do their worst on /sync, while others work. A stock pair in another room goes
// on seeing each other's edits, so does one in the room that is attacked; the server's
// memory stays bounded; nothing of the attack is left afterwards.
//
// CORUN_SOAK=1 makes it long, one attack at a time, and prints how long the pair took quiet
// and under each attack; and how long while the same attack was on another server of the
// machine, as attackers take its processors wherever they are. How long is not asserted.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import * as Y from 'yjs'
import { docUntil, syncClient, within } from './clients.mjs'
import { Pair, PairElsewhere } from './pair.mjs'
import { startServer } from './server.mjs'

const soak = !!process.env.CORUN_SOAK
/** How much more memory the server may have at any time during an attack. */
const maxGrowth = 200 << 20

let server
let another // which is attacked so that its neighbour is measured
const table = []

before(async () => {
  const args = ['--open-rooms', '--trust-proxy', '--pool', '1', '--pool-memory', '8MiB']
  server = await startServer({ args })
  if (soak) another = await startServer({ args })
})
after(async () => {
  await Promise.all([server?.stop(), another?.stop()])
  if (!soak) return
  const ms = (n) => n.toFixed(2).padStart(9)
  const at = (took, q) => took[Math.min(took.length - 1, Math.floor(q * took.length))] ?? NaN
  console.log(`${'an edit seen by another, ms'.padEnd(42)}${['p50', 'p99', 'worst', 'edits', 'MiB more'].map((h) => h.padStart(10)).join('')}   p50 and p99 with the attack on another server`)
  for (const { name, took, growth, beside = [] } of table) {
    for (const all of [took, beside]) all.sort((a, b) => a - b)
    console.log(`${name.padEnd(42)}${[0.5, 0.99, 1].map((q) => ' ' + ms(at(took, q))).join('')}${String(took.length).padStart(10)}${String(Math.round(growth / 2 ** 20)).padStart(10)}   ${[0.5, 0.99].map((q) => ms(at(beside, q))).join('')}`)
  }
})

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
function attack(name, data, on = server) {
  const worker = new Worker(new URL('attacks.mjs', import.meta.url), { workerData: { port: on.port, attack: name, soak, ...data } })
  let said
  return within(new Promise((resolve, reject) => {
    worker.on('error', reject)
    worker.on('exit', () => (said?.failed ? reject(new Error(said.failed)) : said ? resolve(said.done) : reject(new Error('the attack ended without a word'))))
    worker.on('message', (m) => { said = m })
  }), name, 300_000).finally(() => worker.terminate())
}

/** How long the pair edits at least where it is measured, so that there are edits enough. */
const atLeast = soak ? 4000 : 0

/** Has something done, again and again if it is short, while a pair in another room edits. */
async function measured(name, during) {
  const pair = await PairElsewhere.join(server, 'elsewhere')
  try {
    process.kill(server.pid, 'SIGUSR2') // gives back what it does not need, so that the next has to take it again
    await pair.edits(20) // all that is made once
    const before = kilobytes('VmRSS')
    peak()
    await pair.start()
    const begin = Date.now()
    let said
    for (let round = 0; round === 0 || Date.now() - begin < atLeast; round++) said = await during(round)
    const { took, closes } = await pair.stop()
    await pair.edits(20)
    const growth = peak() - before
    assert.deepEqual(closes, [], 'the pair in another room was cut off')
    assert.ok(growth < maxGrowth, `the server took ${growth >> 20} MiB more`)
    return { said, growth, took }
  } finally { await pair.close() }
}

test('quiet', { skip: !soak }, async () => {
  const { took, growth } = await measured('quiet', () => new Promise((resolve) => setTimeout(resolve, 5000))) // what is measured takes time
  table.push({ name: 'quiet', took, growth })
})

/** The same on another server, with a pair in it as well. */
async function besides(name, room, data) {
  const inside = await Pair.join(another, room)
  const muted = console.error
  console.error = () => {} // see survive
  try {
    return await measured(name, (round) => attack(name, { room, round, ...data }, another))
  } finally {
    console.error = muted
    inside.close()
  }
}

/** An attack on a room with a pair in it. */
async function survive(t, name, { data = {}, check = async () => {}, mayLag = false } = {}) {
  const room = `attacked.${name.replace(/[^a-z0-9]/gi, '_')}`
  const beside = soak ? (await besides(name, room, data)).took : undefined
  const inside = await Pair.join(server, room)
  const muted = console.error
  let refused = 0
  // What yjs says of an update that it cannot read; the server may read more than it.
  console.error = () => { refused++ }
  try {
    await inside.edit()
    const { said, growth, took } = await measured(name, (round) => attack(name, { room, round, ...data }))
    table.push({ name, took, growth, beside })
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
  const room = await Pair.join(server, 'afterwards')
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
