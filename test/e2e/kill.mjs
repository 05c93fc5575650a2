// Stock clients who type while their server is killed, again and again, or its disk is
// full. What somebody had seen of somebody else when the server died must be in the
// document as the store has it, before anybody comes back and could mend what was lost.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as Y from 'yjs'
import { Random } from '../fuzz/random.mjs'
import { docUntil, liveClient, sameState, stateOf, syncClient, within } from './clients.mjs'
import { family, gone, launcherOf } from './processes.mjs'
import { makeRoom, startServer } from './server.mjs'

const run = promisify(execFile)
const tick = (ms) => new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)))

/** Looks at check again and again, for what no event tells of. */
const until = (check, what) => within((async () => { while (!check()) await tick(5) })(), what, 60_000)

/** A file system of its own that can be filled. */
async function smallDisk(mebibytes) {
  const dir = mkdtempSync(join(tmpdir(), 'corun-small-'))
  await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=700`, 'tmpfs', dir])
  const filler = join(dir, 'filler')
  return {
    dir,
    fill() {
      const fd = openSync(filler, 'a')
      for (let size = 1 << 20; size >= 1;) {
        try { writeSync(fd, Buffer.alloc(size)) } catch (err) {
          if (err.code !== 'ENOSPC') throw err
          size >>= 1
        }
      }
      closeSync(fd)
    },
    free() { rmSync(filler, { force: true }) },
    async remove() {
      await run('umount', [dir])
      rmSync(dir, { recursive: true })
    },
  }
}

/** One who types in a room, or only looks. */
class Client {
  constructor(room, version, types) {
    this.room = room
    this.types = types
    this.name = `${types ? 'writer' : 'reader'} by provider ${version} in ${room.id}`
    Object.assign(this, syncClient(room.world.server, room.id, types ? room.token : room.viewer, { version, connect: false }))
    this.deleted = Y.createDeleteSet() // by others, as this one saw
    this.remote = 0 // changes of others
    this.doc.on('afterTransaction', (tr) => {
      if (tr.local) return
      this.deleted = Y.mergeDeleteSets([this.deleted, tr.deleteSet])
      if (tr.beforeState.size > 0 || tr.deleteSet.clients.size > 0) this.remote++
    })
  }

  /** What this one has seen of others. */
  seen() {
    const state = Y.decodeStateVector(Y.encodeStateVector(this.doc))
    state.delete(this.doc.clientID)
    return { who: this.name, state, deleted: this.deleted }
  }

  type(r) {
    const { text } = this
    const at = r.below(text.length + 1)
    if (text.length > 0 && r.chance(text.length > 20_000 ? 0.8 : 0.3)) {
      text.delete(Math.min(at, text.length - 1), Math.min(r.between(1, 8), text.length - Math.min(at, text.length - 1)))
    } else {
      // Now and then something is pasted.
      text.insert(at, r.chance(0.02) ? 'pasted '.repeat(r.between(20, 400)) : r.pick(['a', 'b ', '\n', 'typed ', 'ä', '漢字']))
    }
  }
}

/** Fails unless a document has all that somebody saw. */
function assertHas(doc, { who, state, deleted }, when) {
  for (const [id, clock] of state) {
    const has = Y.getState(doc.store, id)
    assert.ok(has >= clock, `${when}: ${who} had seen client ${id} up to ${clock}, and the store has ${has}`)
  }
  const has = Y.createDeleteSetFromStructStore(doc.store)
  for (const [id, ranges] of deleted.clients) {
    for (const { clock, len } of ranges) {
      for (let i = clock; i < clock + len; i++) {
        assert.ok(Y.isDeleted(has, Y.createID(id, i)), `${when}: ${who} had seen that ${id}.${i} is deleted, and in the store it is not`)
      }
    }
  }
}

class World {
  async open({ seed, disk, log }) {
    const w = this
    Object.assign(w, { seed, log, disk, r: new Random(seed), hand: new Random(seed + 1), cycle: 0, counts: {}, started: [] })
    w.server = await startServer({ args: ['--open-rooms', '--pool', '1', '--pool-memory', '8MiB'], dataDir: disk?.dir, up: 'healthz' })
    const { id, tokens } = await makeRoom(w.server, { language: 'python' })
    w.rooms = [
      { world: w, id, token: tokens.guest, viewer: tokens.viewer },
      { world: w, id: 'open_room.1' },
    ]
    // The first visitor makes an open room.
    w.clients = w.rooms.flatMap((room) => {
      room.clients = [...[1, 2, 3].map((version) => new Client(room, version, true)), new Client(room, 3, false)]
      return room.clients
    })
    w.rooms[1].clients[0].doc.getMap('files').set('main', { path: 'main.py' }) // else no file is shown
    w.writers = w.clients.filter((c) => c.types)
    w.typing = w.type()
    await w.connect()
  }

  get when() { return `cycle ${this.cycle} (seed ${this.seed})` }

  count(what) { this.counts[what] = (this.counts[what] ?? 0) + 1 }

  /** Types until the end, whether the server is there or not; paused is for those who compare. */
  async type() {
    while (!this.ended) {
      if (this.paused) { this.resting = true; await tick(1); continue }
      this.resting = false
      this.hand.pick(this.writers).type(this.hand)
      this.typed = (this.typed ?? 0) + 1
      // Offline, some more; not without end.
      await tick(this.offline ? 20 : this.hand.below(3))
    }
  }

  async connect() {
    this.offline = false
    // In an order of its own each time.
    for (const c of this.r.shuffle([...this.clients])) c.provider.connect()
    this.live = await liveClient(this.server, this.rooms[0].id, this.rooms[0].viewer)
  }

  /** Waits for n changes that somebody saw of somebody else. */
  async see(n) {
    const total = () => this.clients.reduce((sum, c) => sum + c.remote, 0)
    const from = total()
    await until(() => total() >= from + n, () => `${n} changes to be seen, in ${this.when}; there are ${total() - from}`)
  }

  /** Kills the server and looks what the store has. */
  async kill(how) {
    this.cycle++
    this.count(how)
    if (how === 'launcher') {
      const processes = await family(this.server.pid)
      process.kill(launcherOf(processes).pid, 'SIGKILL')
      assert.notEqual(await within(this.server.exited(), 'the server to end after its launcher', 60_000), 0)
      for (const c of this.clients) c.provider.shouldConnect = false
    } else {
      const dead = this.server.kill()
      for (const c of this.clients) c.provider.shouldConnect = false
      await dead
    }
    this.offline = true
    // What the kernel still holds for a client is seen as well.
    await until(() => this.clients.every((c) => c.provider.ws === null), () => `everybody to notice, in ${this.when}`)
    const seen = this.clients.map((c) => ({ room: c.room, ...c.seen() }))
    const told = this.live.messages.filter((m) => m.type === 'saved').at(-1)
    if (told) seen.push({ room: this.rooms[0], who: 'who was told what is saved', state: Y.decodeStateVector(Buffer.from(told.state_vector, 'base64')), deleted: Y.createDeleteSet() })
    this.disk?.free()
    await this.server.start()
    await this.check(seen, this.when)
    await this.connect()
  }

  /** A reader who comes afresh has all that was seen, and the API says the same. */
  async check(seen, when) {
    for (const room of this.rooms) {
      const fresh = syncClient(this.server, room.id, room.viewer)
      try {
        await fresh.synced()
        for (const s of seen) if (s.room === room) assertHas(fresh.doc, s, when)
        assert.equal(fresh.doc.store.pendingStructs, null, `${when}: what is stored has a gap`)
        if (this.offline && fresh.doc.getMap('files').has('main')) assert.equal(await this.file(room), fresh.text.toString(), when)
      } finally { fresh.close() }
    }
  }

  async file(room) {
    const res = await fetch(`${this.server.url}/api/v1/rooms/${room.id}/files`, { headers: room.viewer ? { Authorization: `Bearer ${room.viewer}` } : {} })
    assert.equal(res.status, 200)
    const { files } = await res.json()
    return files.find((f) => f.id === 'main')?.content ?? ''
  }

  /** Everybody pauses and has the same, to the byte; what was typed is in it. */
  async agree() {
    this.paused = true
    await until(() => this.resting, 'a pause')
    for (const room of this.rooms) {
      const docs = room.clients.map((c) => c.doc)
      await docUntil(docs, () => docs.every((doc) => sameState(doc, docs[0])), () => `all in ${room.id} to agree, in ${this.when}; they are connected: ${room.clients.map((c) => c.provider.wsconnected)}`)
      const fresh = syncClient(this.server, room.id, room.viewer)
      await fresh.synced()
      for (const c of [...room.clients, fresh]) assert.equal(stateOf(c.doc), stateOf(docs[0]), this.when)
      fresh.close()
      assert.equal(await this.file(room), room.clients[0].text.toString(), this.when)
    }
    this.paused = false
  }

  /** The disk is full for a while. */
  async full({ killed }) {
    this.cycle++
    this.count('full')
    const closes = this.clients.map((c) => c.closes.length)
    await until(() => this.clients.every((c) => c.provider.synced), `everybody to be connected, in ${this.when}`)
    const refusals = () => this.writers.reduce((sum, c) => sum + c.refusals.length, 0)
    const before = refusals()
    const from = this.live.messages.length
    this.disk.fill()
    await this.live.message('storage', (m) => m.writable === false, from)
    await until(() => refusals() > before, () => `an edit to be refused, in ${this.when}`)
    assert.match(this.writers.flatMap((c) => c.refusals).at(-1), /permission denied: edits cannot be saved/)
    // Who comes now can read, and is told.
    for (const c of this.clients) if (!c.types) assert.deepEqual(c.refusals, [], `${c.name} wrote nothing`)
    await this.check(this.clients.map((c) => ({ room: c.room, ...c.seen() })), `full, ${this.when}`)
    const second = await liveClient(this.server, this.rooms[0].id, this.rooms[0].viewer)
    await second.message('storage', (m) => m.writable === false)
    second.close()
    if (killed) { this.cycle--; this.count('killed while full'); return this.kill('server') }
    const typed = this.typed
    await until(() => this.typed > typed + 20, 'some typing')
    const at = this.live.messages.length
    this.disk.free()
    await this.live.message('storage', (m) => m.writable === true, at)
    await this.agree()
    const again = this.clients.flatMap((c, i) => c.closes.slice(closes[i]).map((code) => `${c.name}: ${code}`))
    assert.deepEqual(again, [], `nobody had to connect again, in ${this.when}`)
  }

  async close() {
    this.ended = true
    await this.typing
    this.live?.close()
    this.clients?.forEach((c) => c.close())
    if (!this.server) return
    const processes = await family(this.server.pid).catch(() => []) // it may be dead
    await this.server.stop()
    await gone(processes)
  }
}

/**
 * Runs a world through its deaths: kills and launcherKills on the machine's disk, or on a
 * small one that is full `fulls` times.
 */
export async function survive({ seed, kills = 0, launcherKills = 0, fulls = 0, small, log = () => {} }) {
  const disk = small ? await smallDisk(small) : undefined
  const world = new World()
  try {
    await world.open({ seed, disk, log })
    const { r } = world
    const deaths = r.shuffle([...Array(kills).fill('server'), ...Array(launcherKills).fill('launcher'), ...Array(fulls).fill('full')])
    for (const [i, death] of deaths.entries()) {
      // Now and then before all are back.
      await world.see(r.chance(0.15) ? 1 : r.between(20, 500))
      const before = world.counts.full ?? 0 // each way once, in any case
      if (death === 'full') await world.full({ killed: before < 2 ? before === 1 : r.chance(0.3) })
      else await world.kill(death)
      if (r.chance(0.3) || i === deaths.length - 1) await world.agree()
      if (i % 20 === 19) log(`${i + 1} of ${deaths.length}: ${JSON.stringify(world.counts)}, ${world.typed} edits`)
    }
    // And once more from the store alone.
    world.paused = true
    await until(() => world.resting, 'a pause')
    const last = world.rooms.map((room) => stateOf(room.clients[0].doc))
    await world.kill('server')
    await world.agree()
    world.rooms.forEach((room, i) => assert.equal(stateOf(room.clients[0].doc), last[i], `at the end (seed ${seed})`))
    return { ...world.counts, edits: world.typed }
  } finally {
    await world.close()
    await disk?.remove()
  }
}
