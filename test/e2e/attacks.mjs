// What a hostile client does, over raw sockets, in a thread of its own. Each attack checks
// the codes with which it is put out. hostile.test.mjs runs them.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { gunzipSync } from 'node:zlib'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'

const { port, soak } = workerData
const open = new Set() // sockets, to be destroyed at the end

/** A frame as a client sends it, masked with zeros unless told otherwise. */
function frame(opcode, payload = Buffer.alloc(0), { fin = true, masked = true, rsv = 0, announce = payload.length } = {}) {
  const size = announce < 126 ? 0 : announce < 65536 ? 2 : 8
  const head = Buffer.alloc(2 + size + (masked ? 4 : 0))
  head[0] = (fin ? 0x80 : 0) | rsv | opcode
  head[1] = (masked ? 0x80 : 0) | (size === 0 ? Number(announce) : size === 2 ? 126 : 127)
  if (size === 2) head.writeUInt16BE(Number(announce), 2)
  if (size === 8) head.writeBigUInt64BE(BigInt(announce), 2)
  return Buffer.concat([head, payload])
}

const binary = (payload, options) => frame(2, payload, options)

function message(kind, ...parts) {
  const e = encoding.createEncoder()
  encoding.writeVarUint(e, kind)
  for (const part of parts) typeof part === 'number' ? encoding.writeVarUint(e, part) : encoding.writeVarUint8Array(e, part)
  return Buffer.from(encoding.toUint8Array(e))
}
function states(...all) {
  const e = encoding.createEncoder()
  encoding.writeVarUint(e, all.length)
  for (const [client, clock, state] of all) { encoding.writeVarUint(e, client); encoding.writeVarUint(e, clock); encoding.writeVarString(e, state) }
  return encoding.toUint8Array(e)
}
const sync = (step, bytes) => message(0, step, bytes)
/** One socket that has shaken hands, or was refused. */
class Raw {
  static async open(room, { token, from, read = true } = {}) {
    const raw = new Raw()
    const socket = raw.socket = connect(port, '127.0.0.1')
    open.add(socket)
    socket.setNoDelay(true)
    raw.count = 0 // frames that came
    raw.kinds = new Map() // of messages, by their first byte
    raw.code = undefined // with which the server closed
    raw.ended = false
    raw.waiting = new Set()
    let head = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('close', () => { raw.ended = true; open.delete(socket); raw.wake() })
    socket.write(`GET /sync/${room}${token ? `?token=${token}` : ''} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${from ? `X-Forwarded-For: ${from}\r\n` : ''}\r\n`)
    socket.on('data', (data) => {
      if (raw.status === undefined) {
        head = Buffer.concat([head, data])
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return
        raw.head = head.subarray(0, end).toString()
        raw.status = Number(raw.head.split(' ')[1])
        data = head.subarray(end + 4)
        if (raw.status === 101 && !read) socket.pause()
      }
      raw.take(data)
      raw.wake()
    })
    await raw.until(() => raw.status !== undefined)
    return raw
  }

  left = Buffer.alloc(0)
  take(data) {
    if (this.status !== 101) return
    let b = this.left.length ? Buffer.concat([this.left, data]) : data
    for (;;) {
      if (b.length < 2) break
      let size = b[1] & 0x7f
      let at = 2
      if (size === 126) { if (b.length < 4) break; size = b.readUInt16BE(2); at = 4 }
      if (size === 127) { if (b.length < 10) break; size = Number(b.readBigUInt64BE(2)); at = 10 }
      if (b.length < at + size) break
      const payload = b.subarray(at, at + size)
      this.count++
      switch (b[0] & 0xf) {
        case 2:
          this.kinds.set(payload[0], (this.kinds.get(payload[0]) ?? 0) + 1)
          if (payload[0] === 1 && this.asked && payload.includes(this.asked)) this.answered = true
          break
        case 8: this.code ??= payload.length >= 2 ? payload.readUInt16BE(0) : 1005; break
        case 10: this.kinds.set('pong', (this.kinds.get('pong') ?? 0) + 1)
      }
      b = b.subarray(at + size)
    }
    this.left = Buffer.from(b)
  }

  wake() { for (const w of [...this.waiting]) w() }

  /** Waits until check() is true or the socket has ended. */
  until(check) {
    return new Promise((resolve) => {
      const look = () => { if (check() || this.ended) { this.waiting.delete(look); resolve() } }
      this.waiting.add(look)
      look()
    })
  }

  /** Writes, and waits while the kernel takes no more; false once the server has put it out. */
  async write(data) {
    if (this.ended || this.code !== undefined || this.socket.destroyed) return false
    if (!this.socket.write(data)) {
      await new Promise((resolve) => {
        const done = () => { this.socket.off('drain', done); this.socket.off('close', done); this.waiting.delete(put); resolve() }
        const put = () => { if (this.code !== undefined) done() }
        this.socket.on('drain', done)
        this.socket.on('close', done)
        this.waiting.add(put)
      })
    }
    return true
  }

  /** The code with which the server closes. */
  async closed() {
    await this.until(() => this.code !== undefined)
    return this.code
  }

  /** Writes something bad and gives the code. */
  async bad(data) { await this.write(data); return this.closed() }

  /**
   * Whether the server still answers, after all that was written before. The question is for
   * everybody's awareness, and the answer is known by what is this socket's own in it.
   */
  async answers() {
    this.asked = `"${this.me}.${++this.asks}"`
    this.answered = false
    await this.write(Buffer.concat([binary(message(1, states([this.me, this.asks, this.asked]))), binary(message(3))]))
    await this.until(() => this.answered || this.code !== undefined)
    return this.code === undefined && this.answered
  }

  me = 1 + Math.floor(Math.random() * 2 ** 40)
  asks = 0

  end() { this.socket.destroy() }
}

/** An update of one text item; with a clock above 0 its past is missing. */
function insertion(client, clock, text) {
  const e = encoding.createEncoder()
  for (const n of [1, 1, client, clock, 4, 1]) encoding.writeVarUint(e, n)
  encoding.writeVarString(e, 'file/main')
  encoding.writeVarString(e, text)
  encoding.writeVarUint(e, 0)
  return encoding.toUint8Array(e)
}

const corpus = () => JSON.parse(gunzipSync(readFileSync(new URL('../../collab/ycrdt/testdata/corpus/malformed.json.gz', import.meta.url)))).inputs

const attacks = {
  async malformed({ room }) {
    const inputs = corpus()
    assert.ok(inputs.length > 700)
    let closed = 0
    let raw = await Raw.open(room)
    for (const input of inputs) {
      const data = Buffer.from(input.data, 'base64')
      for (const bad of [sync(0, data), sync(1, data), sync(2, data), message(1, data), data]) {
        await raw.write(binary(bad))
        if (await raw.answers()) continue
        // What somebody says of itself has a limit of its own.
        assert.equal(raw.code, bad[0] === 1 && data.length > 64 << 10 ? 1009 : 1007, `${input.kind} ${input.note ?? ''} ${input.data.slice(0, 80)}`)
        closed++
        raw.end()
        raw = await Raw.open(room)
      }
    }
    assert.ok(closed > inputs.length, `only ${closed} of ${inputs.length * 5} frames were found to be bad`)
    return `${closed} of ${inputs.length * 5} put out`
  },

  async 'frames of absurd length'({ room }) {
    for (const announce of [2 ** 20 + 1, 200e6, 2 ** 31, 2 ** 32, 2n ** 53n, 2n ** 63n - 1n]) {
      const raw = await Raw.open(room)
      assert.equal(await raw.bad(binary(Buffer.alloc(100), { announce })), 1009, `${announce} bytes announced`)
    }
    for (const announce of [2n ** 63n, 2n ** 64n - 1n]) {
      const raw = await Raw.open(room)
      const code = await raw.bad(binary(Buffer.alloc(100), { announce }))
      assert.ok([1002, 1009].includes(code), `${announce} bytes announced: ${code}`)
    }
    // And within a frame.
    const long = (...head) => { const e = encoding.createEncoder(); head.forEach((n) => encoding.writeVarUint(e, n)); return Buffer.from(encoding.toUint8Array(e)) }
    const endless = Buffer.alloc(100, 0xff)
    for (const bad of [
      long(0, 2, 200e6), long(0, 0, 2 ** 40), long(0, 1, 2 ** 53 - 1), long(1, 200e6), message(1, long(2 ** 40)), message(1, long(1, 5, 1, 2 ** 40)),
      sync(0, long(2 ** 40)), sync(2, long(2 ** 40)), sync(2, long(1, 2 ** 40, 1, 0)), sync(2, long(0, 1, 1, 2 ** 40)),
      endless, Buffer.concat([Buffer.from([0, 2]), endless]), sync(2, endless), message(1, endless), sync(0, endless),
    ]) {
      const raw = await Raw.open(room)
      assert.equal(await raw.bad(binary(bad)), 1007, bad.toString('hex').slice(0, 60))
    }
    // A good message, cut at every byte.
    const good = message(0, 2, insertion(77, 0, 'cut'))
    for (let n = 0; n < good.length; n++) {
      const raw = await Raw.open(room)
      assert.equal(await raw.bad(binary(good.subarray(0, n))), 1007, `cut at ${n}`)
    }
  },

  async 'broken rules of web sockets'({ room }) {
    const one = Buffer.from([3])
    const close = (code) => { const b = Buffer.alloc(2); b.writeUInt16BE(code); return frame(8, b) }
    const cases = {
      unmasked: [binary(one, { masked: false }), 1002],
      'a reserved bit': [binary(one, { rsv: 0x40 }), 1002],
      'a ping in pieces': [frame(9, one, { fin: false }), 1002],
      'a ping of 126 bytes': [frame(9, Buffer.alloc(126)), 1002],
      'a continuation of nothing': [frame(0, one), 1002],
      'a message within another': [Buffer.concat([binary(one, { fin: false }), binary(one)]), 1002],
      'a close with a code that is none': [close(1005), 1002],
      text: [frame(1, Buffer.from('hello')), 1007],
      'text that is no UTF-8': [frame(1, Buffer.from([0xff, 0xfe])), 1007],
    }
    for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) cases[`opcode ${opcode}`] = [frame(opcode, one), 1002]
    for (const [name, [data, code]] of Object.entries(cases)) {
      // What follows is there when the server has seen enough.
      const raw = await Raw.open(room)
      assert.equal(await raw.bad(Buffer.concat([data, Buffer.alloc(100_000)])), code, name)
    }
    const raw = await Raw.open(room)
    assert.equal(await raw.bad(close(1000)), 1000, 'a goodbye is answered')
  },

  async 'a message of 20 MB in 1 KB fragments'({ room }) {
    const piece = Buffer.alloc(1024)
    await Promise.all(Array.from({ length: 10 }, async () => {
      const raw = await Raw.open(room)
      await raw.write(binary(piece, { fin: false }))
      for (let sent = 1; sent < 20_000 && await raw.write(frame(0, piece, { fin: false })); sent++);
      assert.equal(await raw.closed(), 1009)
    }))
  },

  async 'messages that never end'({ room }) {
    // As many as are let in from many places, each just below what a message may have.
    const n = 600
    const piece = Buffer.alloc(50_000)
    const put = new Map()
    const all = []
    while (all.length < n) {
      // Not all at once, so that they have time to read why they are put out.
      const some = await Promise.all(Array.from({ length: 30 }, (_, i) => Raw.open(`${room}.${i % 6}`)))
      all.push(...some)
      await Promise.all(some.map(async (raw) => {
        assert.equal(raw.status, 101)
        await raw.write(binary(piece, { fin: false }))
        for (let i = 1; i < 20 && await raw.write(frame(0, piece, { fin: false })); i++);
        // The answer to a ping is the sign that all was read, in order.
        await raw.write(frame(9))
        await raw.until(() => raw.kinds.has('pong') || raw.code !== undefined)
      }))
    }
    for (const raw of all) {
      const end = raw.code ?? (raw.ended ? 'cut off' : 'held')
      put.set(end, (put.get(end) ?? 0) + 1)
    }
    for (const end of put.keys()) assert.ok(['held', 1013].includes(end), `closed with ${end}`)
    assert.ok(put.get('held') > 10 && put.get(1013) > 500, JSON.stringify([...put]))
    return JSON.stringify([...put])
  },

  async '3,000 updates with a missing past'({ room }) {
    const raw = await Raw.open(room)
    const text = 'x'.repeat(soak ? 50_000 : 5000)
    for (let i = 0; i < 3000; i++) {
      const client = 1000 + (i % 700)
      if (!await raw.write(binary(sync(2, insertion(client, 10 + i * 60_000, text))))) break
    }
    assert.equal(await raw.answers(), true, `put out with ${raw.code}`)
    assert.ok(raw.kinds.get(2) > 0, 'all of it waits')
    return `${raw.kinds.get(2)} refused`
  },

  async 'a million awareness states'({ room }) {
    let id = 1
    const all = await Promise.all(Array.from({ length: 4 }, () => Raw.open(room)))
    for (const raw of all) {
      assert.equal(await raw.answers(), true) // before it has all the states that it may have
      for (let sent = 0; sent < 250_000;) {
        const n = 6000
        const many = states(...Array.from({ length: n }, () => [id++, 1, '{}']))
        sent += n
        assert.ok(await raw.write(binary(message(1, many))), `put out with ${raw.code} after ${sent}`)
      }
      assert.equal(await raw.answers(), true, `put out with ${raw.code}`)
    }
    return `${id - 1} states`
  },

  async 'a reader that never reads'({ room, megabytes }) {
    const lazy = await Raw.open(room, { read: false })
    const writer = await Raw.open(room)
    const doc = new Y.Doc()
    const text = doc.getText('file/main')
    const updates = []
    doc.on('update', (u) => updates.push(u))
    const blob = 'z'.repeat(500_000)
    let bytes = 0
    while (bytes < megabytes * 1e6) {
      text.insert(0, blob)
      text.delete(0, blob.length)
      for (const u of updates.splice(0)) {
        bytes += u.length
        assert.ok(await writer.write(binary(sync(2, u))), `the writer was put out with ${writer.code}`)
      }
      assert.equal(await writer.answers(), true) // no faster than the server
    }
    assert.equal(writer.kinds.get(2), undefined, 'the writer was refused something')
    // Now it reads: what was on its way, and why it is put out, unless that took so long that
    // it was cut off.
    lazy.socket.resume()
    const code = await lazy.closed()
    assert.ok(code === 1013 || (soak && code === undefined), `put out with ${code}`)
    return `${Math.round(bytes / 1e6)} MB went by, the reader was ${code ?? 'cut off'}`
  },

  async 'a reader that is slow'({ room }) {
    const lazy = await Raw.open(room, { read: false })
    const writer = await Raw.open(room)
    const doc = new Y.Doc()
    const updates = []
    doc.on('update', (u) => updates.push(u))
    for (let i = 0; i < 60; i++) {
      // Text of the last stays, for what follows.
      const text = doc.getText('file/main')
      if (i < 50) text.delete(0, text.length)
      text.insert(0, 'q'.repeat(300_000))
      for (const u of updates.splice(0)) await writer.write(binary(sync(2, u)))
      assert.equal(await writer.answers(), true)
    }
    assert.equal(writer.kinds.get(2), undefined, 'the writer was refused something')
    lazy.socket.resume()
    assert.equal(await lazy.closed(), 1013)
    // The document that is asked for again and again, and not read.
    const asks = await Raw.open(room, { read: false })
    for (let i = 0; i < 200; i++) asks.socket.write(binary(sync(0, Buffer.from([0]))))
    assert.equal(await writer.answers(), true)
    asks.socket.resume()
    assert.equal(await asks.closed(), 1013)
  },

  async 'floods of pings'({ room }) {
    const ping = Buffer.concat(Array(100).fill(frame(9, Buffer.alloc(100, 'p'))))
    const reads = await Raw.open(room)
    for (let i = 0; i < 1000; i++) assert.ok(await reads.write(ping), `put out with ${reads.code}`)
    await reads.until(() => reads.kinds.get('pong') === 100_000 || reads.code !== undefined)
    assert.equal(reads.code, undefined)
    // One that does not read the answers, until the server has read all that it says.
    const lazy = await Raw.open(room, { read: false })
    for (let i = 0; i < 5000; i++) await lazy.write(ping)
    lazy.socket.resume()
    assert.equal(await lazy.closed(), 1013)
  },

  async 'sockets of which half is closed'({ room }) {
    const n = 300
    const all = await Promise.all(Array.from({ length: n }, (_, i) => Raw.open(`${room}.${i % 4}`)))
    for (const [i, raw] of all.entries()) {
      assert.equal(raw.status, 101)
      if (i % 3 === 0) raw.socket.end() // no more from here
      else if (i % 3 === 1) raw.socket.resetAndDestroy?.() ?? raw.socket.destroy()
      else { raw.socket.write(binary(Buffer.alloc(500), { announce: 1000 })); raw.socket.end() } // in the middle of a frame
    }
    await Promise.all(all.map((raw) => raw.until(() => false))) // until the server has closed too
  },

  async 'a flood of connections'({ room, round }) {
    // One address, which may have 500.
    let tally = {}
    const flood = async (n, from, rooms) => {
      const all = []
      for (let i = 0; i < n; i += 100) {
        all.push(...await Promise.all(Array.from({ length: 100 }, (_, k) => Raw.open(`${room}.${(i + k) % rooms}`, { from }))))
      }
      tally = {}
      for (const raw of all) tally[raw.status] = (tally[raw.status] ?? 0) + 1
      return all
    }
    let all = await flood(1500, `203.0.113.${2 * round}`, 10)
    assert.ok(tally[101] <= 500 && tally[101] >= 400 && tally[429] >= 1000, `one address: ${JSON.stringify(tally)}`)
    assert.match(all.find((raw) => raw.status === 429).head, /retry-after: \d+/i)
    const one = JSON.stringify(tally)
    // Others are let in meanwhile.
    const other = await Raw.open(room, { from: `203.0.113.${2 * round + 1}` })
    assert.equal(other.status, 101)
    all.forEach((raw) => raw.end())
    // Many that come and go, from everywhere.
    for (let wave = 0; wave < (soak ? 20 : 3); wave++) {
      all = await Promise.all(Array.from({ length: 500 }, (_, i) => Raw.open(`${room}.${i % 10}`, { from: `198.51.${20 * round + wave}.${i % 250}` })))
      all.forEach((raw) => raw.end())
    }
    // A room of which everybody wants to be: 200 are let in.
    const patient = async () => { // a flood that was quick may have used up the handshakes of a second
      for (;;) {
        const raw = await Raw.open(`${room}.full`)
        if (raw.status !== 503) return raw
        await new Promise((resolve) => setTimeout(resolve, 1000))
      }
    }
    all = await Promise.all(Array.from({ length: 260 }, patient))
    const full = await Promise.all(all.map(async (raw) => (raw.status === 101 && await raw.answers() ? 'in' : raw.code ?? `${raw.status} ${raw.ended} ${raw.count}`)))
    assert.equal(full.filter((end) => end === 'in').length, 200)
    assert.ok(full.every((end) => end === 'in' || end === 1013), `a full room: ${[...new Set(full)]}`)
    return `one address: ${one}`
  },

  async 'slow handshakes'({ room }) {
    const n = 500
    const all = await Promise.all(Array.from({ length: n }, (_, i) => new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket))
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => open.delete(socket))
      socket.resume()
      socket.write(i % 2 ? '' : `GET /sync/${room} HTTP/1.1\r\nHost: x\r\nX-Slow: `)
    })))
    const drip = setInterval(() => all.forEach((socket) => socket.writable && socket.write('a')), 250)
    // The server ends them, each of them.
    await Promise.all(all.map((socket) => new Promise((resolve) => (socket.destroyed ? resolve() : socket.on('close', resolve)))))
    clearInterval(drip)
  },

  async 'messages that come a byte a second'({ room }) {
    const all = await Promise.all(Array.from({ length: 100 }, () => Raw.open(room)))
    all.forEach((raw) => raw.socket.write(binary(Buffer.alloc(10), { announce: 1000 })))
    const drip = setInterval(() => all.forEach((raw) => raw.socket.writable && raw.socket.write('a')), 1000)
    await Promise.all(all.map((raw) => raw.until(() => raw.code !== undefined)))
    clearInterval(drip)
  },
}

try {
  const said = await attacks[workerData.attack](workerData)
  parentPort.postMessage({ done: said ?? '' })
} catch (err) {
  parentPort.postMessage({ failed: err.stack })
} finally {
  for (const socket of open) socket.destroy()
}
