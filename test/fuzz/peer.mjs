// The engine at the other end of a pipe: test/peer, which says what the bytes
// mean. Commands gather until flush() sends them as one batch and hands out the
// answers, in order: a history takes few round trips.
import { spawn } from 'node:child_process'

const codes = { create: 1, apply: 2, edit: 3, encode: 4, stateVector: 5, pending: 6, tree: 7, xml: 8, call: 9, reload: 10, roots: 11 }
const statuses = ['ok', 'error', 'panic', 'nothing']
const patience = 120_000 // milliseconds for what takes one: the machine may be busy with other things

/** Grows as it is written to. */
export class Writer {
  constructor() {
    this.buf = Buffer.allocUnsafe(1 << 16)
    this.length = 0
  }

  need(n) {
    if (this.length + n > this.buf.length) {
      const larger = Buffer.allocUnsafe(2 * (this.length + n))
      this.buf.copy(larger, 0, 0, this.length)
      this.buf = larger
    }
    this.length += n
    return this.length - n
  }

  u8(n) { const at = this.need(1); this.buf[at] = n }
  u32(n) { const at = this.need(4); this.buf.writeUInt32LE(n, at) }
  u64(n) { const at = this.need(8); this.buf.writeBigUInt64LE(BigInt(n), at) }
  i64(n) { const at = this.need(8); this.buf.writeBigInt64LE(n, at) }
  f64(n) { const at = this.need(8); this.buf.writeDoubleLE(n, at) }

  bytes(b) {
    this.u32(b.length)
    const at = this.need(b.length)
    this.buf.set(b, at)
  }

  str(s) {
    const n = Buffer.byteLength(s)
    this.u32(n)
    const at = this.need(n)
    this.buf.write(s, at)
  }
}

/** The engine's process is gone, or does not answer: what it said comes along. */
export class PeerFailure extends Error {}

export class Peer {
  constructor(path) {
    this.path = path
    this.out = new Writer()
    this.start()
  }

  start() {
    this.out.length = 4
    this.handlers = []
    this.chunks = []
    this.received = 0
    this.stderr = ''
    this.waiting = null
    this.gone = false
    const child = spawn(this.path, [], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, GOGC: process.env.GOGC ?? '400' } })
    this.child = child
    child.stderr.setEncoding('utf8').on('data', (s) => { this.stderr = (this.stderr + s).slice(0, 20_000) })
    child.stdin.on('error', () => {}) // 'close' tells more
    child.on('error', (err) => { this.stderr += err.message })
    child.on('close', (code, signal) => {
      this.gone = true
      this.fail(`the engine's process ended (${signal ?? code})`)
    })
    child.stdout.on('data', (chunk) => this.receive(chunk))
  }

  fail(what) {
    const waiting = this.waiting
    this.waiting = null
    waiting?.reject(new PeerFailure(`${what}:\n${this.stderr}`))
  }

  receive(chunk) {
    this.chunks.push(chunk)
    this.received += chunk.length
    if (this.received < 4) return
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)]
    const all = this.chunks[0]
    const length = all.readUInt32LE(0)
    if (this.received < 4 + length) return
    this.chunks = []
    this.received = 0
    const waiting = this.waiting
    this.waiting = null
    waiting?.resolve(all.subarray(4))
  }

  /** Sends what has gathered; each answer goes to the handler given with its command. */
  async flush() {
    if (this.handlers.length === 0) return
    const handlers = this.handlers
    this.handlers = []
    this.out.buf.writeUInt32LE(this.out.length - 4, 0)
    // The buffer is used again once the answer is there, and so has been sent.
    const batch = this.out.buf.subarray(0, this.out.length)
    this.out.length = 4
    const answers = await new Promise((resolve, reject) => {
      this.waiting = { resolve, reject }
      if (this.gone) return this.fail("the engine's process had ended")
      // A Go program answers this signal with the stacks of all that it does.
      const timer = setTimeout(() => this.child.kill('SIGQUIT'), patience)
      const settle = (fn) => (x) => { clearTimeout(timer); fn(x) }
      this.waiting = { resolve: settle(resolve), reject: settle(reject) }
      this.child.stdin.write(batch)
    })
    let at = 0
    for (const handler of handlers) {
      const status = statuses[answers[at]]
      const length = answers.readUInt32LE(at + 1)
      at += 5 + length
      handler(status, answers.subarray(at - length, at))
    }
  }

  /** Forgets what has gathered, and starts a new process if need be. */
  reset() {
    this.out.length = 4
    this.handlers = []
    if (this.gone) this.start()
  }

  close() { this.child.stdin.end() }

  command(name, handler) {
    this.out.u8(codes[name])
    this.handlers.push(handler)
    return this.out
  }

  create(clientID, gc, handler) {
    const w = this.command('create', handler)
    w.u64(clientID)
    w.u8(gc ? 1 : 0)
  }

  apply(version, update, handler) {
    const w = this.command('apply', handler)
    w.u8(version)
    w.bytes(update)
  }

  /** write writes the operations, see ops.mjs. */
  edit(write, handler) { write(this.command('edit', handler)) }

  encode(version, sv, handler) {
    const w = this.command('encode', handler)
    w.u8(version)
    w.u8(sv === null ? 0 : 1)
    if (sv !== null) w.bytes(sv)
  }

  stateVector(handler) { this.command('stateVector', handler) }
  pending(handler) { this.command('pending', handler) }
  tree(handler) { this.command('tree', handler) }
  xml(handler) { this.command('xml', handler) }
  roots(handler) { this.command('roots', handler) }

  /** Goes on with a new document, loaded from what the old one is encoded as. */
  reload(version, clientID, handler) {
    const w = this.command('reload', handler)
    w.u8(version)
    w.u64(clientID)
  }

  call(name, args, handler) {
    const w = this.command('call', handler)
    w.str(name)
    w.u32(args.length)
    for (const arg of args) w.bytes(arg)
  }
}
