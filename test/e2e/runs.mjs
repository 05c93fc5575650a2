// Rooms full of people who start programs, stop them, type into them whether they may or
// not, hand the seat around, leave and come back, while the server and the boxes are
// killed. Each client holds the server to its promises with every message; what all of them
// saw is held against the store afterwards.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, readdir } from 'node:fs/promises'
import { cpus } from 'node:os'
import WebSocket from 'ws'
import { Random, mix } from '../fuzz/random.mjs'
import { within } from './clients.mjs'
import { descriptorsOf, family, gone, launcherOf } from './processes.mjs'
import { makeRoom, startServer } from './server.mjs'

const tick = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const split = (all, is) => [all.filter(is), all.filter((one) => !is(one))]
const streams = ['', 'stdout', 'stderr', 'pty']
// Files of the database that its connections may have open: each it and its log, and all a lock and shared memory.
const mostOfDatabase = 2 * (2 + Math.max(4, cpus().length)) + 2

// What is typed says who typed it, and has a sum, so that nothing that is torn looks like it.
const tags = /<[0-9]{3}\.[0-9]\.[0-9]{6}\.[0-9a-f]{8}>/g
function tagOf(room, person, n) {
  const head = `${String(room).padStart(3, '0')}.${person}.${String(n).padStart(6, '0')}`
  return `<${head}.${mix(room, person, n).toString(16).padStart(8, '0')}>`
}
const genuine = (tag) => tag === tagOf(...tag.slice(1).split('.').slice(0, 3).map(Number))

// Programs print lines with numbers, so that what is missing of them shows.
const python = `
import os, signal, sys, time
what, n = sys.argv[1], int(sys.argv[2])
def say(*words, to=sys.stdout): print(*words, file=to, flush=True)
if what == 'lines':
    for i in range(n):
        say('line', i)
        if i % 7 == 0: say('error', i, to=sys.stderr)
elif what == 'flood':
    for i in range(0, n, 1000): sys.stdout.write(''.join('flood %d\\n' % (i + k) for k in range(1000)))
elif what == 'echo':
    say('ready')
    for line in sys.stdin: say('got', line.strip())
    say('end')
elif what == 'signals':
    for s in signal.SIGINT, signal.SIGTERM: signal.signal(s, lambda s, _: say('signal', s))
    say('ready')
    for i in range(n): time.sleep(0.1); say('still', i)
elif what == 'fork':
    sys.stdout.flush()
    for i in range(n):
        if os.fork() == 0:
            say('child', i)
            if i % 2: time.sleep(60)
            os._exit(0)
    time.sleep(0.2)
`
const bash = `
case $1 in
lines) for ((i = 0; i < $2; i++)); do echo "line $i"; done ;;
flood) seq -f 'flood %.0f' 0 $(($2 - 1)) ;;
echo) echo ready; while read -r line; do echo "got $line"; done; echo end ;;
signals) trap 'echo signal' INT TERM; echo ready; for ((i = 0; i < $2; i++)); do sleep 0.1; echo "still $i"; done ;;
fork) for ((i = 0; i < $2; i++)); do (echo "child $i"; ((i % 2)) && sleep 60) & done; sleep 0.2 ;;
esac
`

/** What a program prints on a stream if nothing comes in between, or null where that depends. */
function expected(what, n, language, stream) {
  const lines = (word, step = 1) => Array.from({ length: Math.ceil(n / step) }, (_, i) => `${word} ${i * step}\n`).join('')
  if (what === 'flood') return stream === 'stderr' ? '' : lines('flood')
  if (what !== 'lines' || stream === 'pty') return null
  return stream === 'stdout' ? lines('line') : language === 'python' ? lines('error', 7) : ''
}

/** What all clients saw of one stream of a run: bytes, and which of them. */
class Seen {
  bytes = Buffer.alloc(0)
  ranges = [] // [from, to), in order and apart

  /** Takes what one client got; throws where another got something else. */
  take(from, data) {
    const to = from + data.length
    if (to > this.bytes.length) {
      const more = Buffer.alloc(Math.max(to, 2 * this.bytes.length))
      this.bytes.copy(more)
      this.bytes = more
    }
    const merged = [from, to]
    this.ranges = this.ranges.filter(([a, b]) => {
      const [x, y] = [Math.max(a, from), Math.min(b, to)]
      if (x < y && this.bytes.compare(data, x - from, y - from, x, y) !== 0) throw new Error(`two clients got other bytes between ${x} and ${y}`)
      if (b < from || a > to) return true
      merged[0] = Math.min(merged[0], a)
      merged[1] = Math.max(merged[1], b)
      return false
    })
    data.copy(this.bytes, from)
    this.ranges.push(merged)
    this.ranges.sort((a, b) => a[0] - b[0])
  }

  get end() { return this.ranges.at(-1)?.[1] ?? 0 }
}

/** One web socket of a person's. Whatever breaks a promise fails the whole world. */
class Connection {
  offsets = new Map() // `${run}.${stream}` → where it goes on
  last = 0 // number of the run that this one knows of
  state = 'finished' // of that one
  over = false // was its end told here, and not only in hello?

  constructor(person) {
    this.person = person
    const { room, token, resume } = person
    const { world } = room
    const params = new URLSearchParams({ token, name: person.name, hue: '1' })
    if (resume) params.set('resume', resume)
    const ws = this.ws = new WebSocket(`${world.server.ws}/live/${room.id}?${params}`)
    this.open = new Promise((resolve) => { this.opened = resolve })
    ws.on('message', (data, binary) => {
      try {
        if (binary) this.output(data)
        else this.message(JSON.parse(data))
      } catch (err) { world.fail(new Error(`${person.name}, seed ${world.seed}: ${err.message}`, { cause: err })) }
    })
    ws.on('error', () => {})
    this.gone = new Promise((resolve) => ws.on('close', (code) => {
      this.closed = code
      if (person.connection === this) person.connection = undefined
      this.opened()
      resolve()
    }))
  }

  output(data) {
    const stream = data.readUInt8(0)
    const run = data.readUInt32BE(1)
    const offset = Number(data.readBigUInt64BE(5))
    const key = `${run}.${streams[stream]}`
    assert.ok(this.hello, 'output before hello')
    assert.equal(run, this.last, `output of run ${run} when run ${this.last} is the last`)
    assert.ok(!this.over, `output of run ${run} after its end`)
    assert.equal(offset, this.offsets.get(key) ?? 0, `${key} goes on at another offset than where it stopped`)
    this.offsets.set(key, offset + data.length - 13)
    const { room } = this.person
    room.seenOf(run, streams[stream]).take(offset, data.subarray(13))
    room.world.count('frames')
  }

  message(m) {
    const { person } = this
    const { room } = person
    const { world } = room
    const n = m.run?.number
    if (m.type !== 'hello') assert.ok(this.hello, `${m.type} before hello`)
    if (n !== undefined && m.type.startsWith('run.') && m.type !== 'run.queued') {
      assert.equal(n, this.last, `${m.type} of run ${n} when run ${this.last} is the last`)
      assert.notEqual(this.state, 'finished', `${m.type} of run ${n} after its end`)
    }
    switch (m.type) {
      case 'hello':
        this.hello = m
        person.id = m.you.id
        person.ids.add(m.you.id)
        person.resume = m.resume
        room.driver = m.driver
        if (m.run) {
          this.last = n
          this.state = m.run.state
          room.know(m.run)
        }
        this.opened()
        break
      case 'run.queued':
        if (n === this.last) {
          assert.equal(this.state, 'queued', `run ${n} is queued again`)
        } else {
          assert.equal(n, this.last + 1, 'runs are numbered without a gap')
          assert.equal(this.state, 'finished', `run ${n} is queued while run ${this.last} has not ended`)
        }
        Object.assign(this, { last: n, state: 'queued', over: false })
        room.know(m.run)
        break
      case 'run.started': case 'run.stage':
        this.state = 'running'
        room.know(m.run)
        break
      case 'run.stdin':
        for (const tag of m.data.match(tags) ?? []) {
          assert.equal(room.senders.get(tag)?.id, m.by, `${tag} is shown as typed by ${m.by}`)
        }
        break
      case 'run.truncated': {
        const key = `${n}.${m.stream}`
        assert.ok(m.dropped > 0)
        this.offsets.set(key, (this.offsets.get(key) ?? 0) + m.dropped)
        world.count('truncated')
        break
      }
      case 'run.exited':
        Object.assign(this, { state: 'finished', over: true })
        for (const stream of streams.slice(1)) {
          assert.equal(this.offsets.get(`${n}.${stream}`) ?? 0, m.run.output[stream], `run ${n} has ended before all of ${stream} came`)
        }
        room.ended(m.run)
        break
      case 'driver.changed':
        room.driver = m.driver
        break
      case 'error':
        assert.notEqual(m.code, 'internal', m.message)
        world.count(`refused: ${m.code}`)
        // A tag is the ref of what it was typed with.
        if (m.code === 'not_driver' && room.senders.has(m.ref)) room.refused.add(m.ref)
        break
    }
  }

  send(m) { if (this.ws.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(m)) }

  input(run, text) {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(run, 1)
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(Buffer.concat([head, Buffer.from(text)]))
  }
}

/** Somebody who comes and goes. */
class Person {
  ids = new Set()
  typed = 0

  constructor(room, number, token) {
    Object.assign(this, { room, number, token, name: `${number} in room ${room.number}` })
  }

  async connect() {
    const connection = new Connection(this)
    await connection.open
    if (connection.closed === undefined) {
      // A door that is opened while the other is closing stays.
      this.connection = connection
      this.room.world.count(connection.hello.you.id === this.former ? 'came back' : 'came')
      this.former = connection.hello.you.id
    }
  }
}

class Room {
  runs = new Map() // number → what is known of it
  senders = new Map() // tag → {person, id, run}
  refused = new Set() // tags
  cuts = new Set() // runs that were the last when a server was killed
  texts = new Map() // of the runs that are not compared yet: `${run}.${stream}` → Seen

  constructor(world, number) {
    Object.assign(this, { world, number, r: new Random(mix(world.seed, number)) })
  }

  async open() {
    const { id, tokens } = await makeRoom(this.world.server, { language: 'python', files: [{ path: 'main.py', content: python }, { path: 'main.sh', content: bash }] })
    Object.assign(this, { id, token: tokens.host })
    this.people = [tokens.host, tokens.guest, tokens.guest].slice(0, this.r.between(2, 3)).map((token, i) => new Person(this, i, token))
  }

  api(path, options = {}) {
    return fetch(`${this.world.server.url}/api/v1/rooms/${this.id}${path}`, { ...options, headers: { Authorization: `Bearer ${this.token}`, ...options.headers } })
  }

  seenOf(run, stream) {
    const key = `${run}.${stream}`
    if (!this.texts.has(key)) this.texts.set(key, new Seen())
    return this.texts.get(key)
  }

  /** Somebody was told of a run. */
  know(run) {
    const known = this.runs.get(run.number)
    if (!known) this.runs.set(run.number, { number: run.number, args: run.args, verdict: run.state === 'finished' ? run : undefined })
    else if (run.state === 'finished') this.ended(run)
  }

  /** Somebody was told of its end. */
  ended(run) {
    const known = this.runs.get(run.number)
    assert.ok(known, `run ${run.number} ends and nobody knew of it`)
    if (known.verdict) {
      assert.deepEqual([run.status, run.output], [known.verdict.status, known.verdict.output], `run ${run.number} has ended in two ways`)
      return
    }
    known.verdict = run
    this.world.count(run.status)
    this.world.count('runs')
    this.world.wake()
  }

  get current() { return this.people.map((p) => p.connection).find((c) => c?.state !== undefined && c.state !== 'finished')?.last }

  /** Does something. */
  step() {
    const { r, world } = this
    const person = r.pick(this.people)
    const c = person.connection
    const run = this.current
    const doing = r.weighted([
      [run ? 1 : 20, 'start'], [run ? 20 : 1, 'type'], [2, 'seat'], [2, 'leave'], [1, 'pause'], [run ? 1.5 : 0, 'stop'],
      [run ? 1.5 : 0, 'signal'], [run ? 3 : 0, 'eof'], [run ? 1 : 0, 'resize'], [1, 'start by the API'],
    ])
    world.count(doing)
    if (!c && doing !== 'start by the API') return doing === 'leave' ? this.comeBack(person) : undefined
    switch (doing) {
      case 'start': c.send({ type: 'run.start', ...this.program() }); break
      case 'start by the API': return this.startByAPI()
      case 'type': return this.type(person, run ?? 1)
      case 'seat':
        c.send(r.pick([
          { type: 'driver.take' }, { type: 'driver.take' }, { type: 'driver.request' }, { type: 'driver.release' },
          { type: 'driver.give', to: r.pick(this.people).id },
          { type: 'driver.grant', to: r.pick(this.people).id }, { type: 'driver.rotate', minutes: r.pick([0, 0.05]) },
        ]))
        break
      case 'leave': {
        // With a close frame, or as when a cable is pulled.
        if (r.chance(0.5)) c.ws.close()
        else c.ws.terminate()
        return c.gone.then(() => (r.chance(0.7) ? this.comeBack(person) : undefined))
      }
      case 'pause':
        c.ws.pause()
        setTimeout(() => c.ws.resume(), r.between(100, 1500))
        break
      case 'stop':
        if (r.chance(0.3)) return this.api(`/runs/${run}/stop`, { method: 'POST' }).then((res) => res.arrayBuffer(), () => {})
        c.send({ type: 'run.stop', run })
        break
      case 'signal': c.send({ type: 'signal', run, signal: r.pick(['INT', 'TERM', 'KILL']) }); break
      case 'eof': c.send({ type: 'stdin.eof', run }); break
      case 'resize': c.send({ type: 'resize', cols: r.between(20, 200), rows: r.between(5, 60) }); break
    }
  }

  program() {
    const { r } = this
    const language = r.pick(['python', 'bash'])
    const [what, n] = r.weighted([
      [3, ['lines', r.between(1, 3000)]], [5, ['echo', 0]], [1, ['signals', r.between(1, 30)]], [1, ['fork', r.between(1, 8)]],
      [1, ['flood', 1000 * r.between(20, 400)]],
    ])
    return { language, entry: language === 'python' ? 'main.py' : 'main.sh', args: [what, String(n)], mode: r.pick(['terminal', 'pipes']) }
  }

  async startByAPI() {
    const res = await this.api('/runs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(this.program()) }).catch(() => null)
    if (!res) return // the server is dead
    const answer = await res.json().catch(() => null)
    if (res.status === 202 && answer) this.accepted.add(answer.number)
    else if (answer) assert.equal(res.status, 409, answer.detail)
  }

  accepted = new Set() // runs that the API said it took

  type(person, run) {
    const tag = tagOf(this.number, person.number, person.typed++)
    this.senders.set(tag, { person, id: person.id, run })
    const text = `${tag}\n`
    if (this.r.chance(0.3)) person.connection.input(run, text) // nobody says that this was refused
    else person.connection.send({ type: 'stdin', run, data: text, ref: tag })
  }

  async comeBack(person) {
    if (!person.connection && this.world.up) await person.connect()
  }

  async live() {
    const { world, r } = this
    while (!world.ended) {
      if (world.up) await this.step()
      for (const p of this.people) if (!p.connection && world.up && r.chance(0.2)) await p.connect()
      await tick(r.below(world.pace))
    }
  }

  /**
   * Holds what was seen of the runs that have ended against the store. What is left of texts
   * afterwards is of the last run, which whoever comes is shown again.
   */
  async compare() {
    for (const [number, known] of this.runs) {
      if (known.compared) continue
      const res = await this.api(`/runs/${number}`)
      const row = await res.json()
      assert.equal(res.status, 200, `${this.where} run ${number} was told and is not stored: ${row.detail}`)
      if (row.state !== 'finished') continue
      known.compared = true
      if (known.verdict) assert.deepEqual([row.status, row.output], [known.verdict.status, known.verdict.output], `${this.where} run ${number} has ended in another way than was told`)
      else { this.world.count(row.status); this.world.count('never told') }
      known.verdict = row
      await this.compareOutput(row, known)
    }
    const last = Math.max(0, ...this.runs.keys())
    for (const key of this.texts.keys()) if (Number(key.split('.')[0]) < last) this.texts.delete(key)
  }

  async compareOutput(row, known) {
    known.found = []
    for (const stream of streams.slice(1)) {
      const res = await this.api(`/runs/${row.number}/output?stream=${stream}`)
      assert.equal(res.status, 200)
      const kept = Buffer.from(await res.arrayBuffer())
      const seen = this.texts.get(`${row.number}.${stream}`)
      const what = `${this.where} ${stream} of run ${row.number} (${row.status})`
      assert.equal(kept.length, row.output[stream], `${what} is not as long as the run says`)
      if (seen) {
        this.world.lost = Math.max(this.world.lost, seen.end - kept.length)
        assert.ok(seen.end <= kept.length, `${what}: ${seen.end} bytes were seen and ${kept.length} are kept`)
        for (const [a, b] of seen.ranges) assert.equal(kept.compare(seen.bytes, a, b, a, b), 0, `${what}: between ${a} and ${b} something else was seen than is kept`)
        this.world.count('streams compared')
      }
      const [program, n] = row.args
      const whole = expected(program, Number(n), row.language, stream)
      const text = kept.toString('latin1')
      // Nobody's typing is in it, and it came to its end in its own way.
      if (whole !== null && row.status === 'exited' && row.exit_code === 0 && (row.mode === 'pipes' ? stream !== 'pty' : stream === 'pty') && !text.includes('<') && !text.includes('^')) {
        assert.ok(text === (stream === 'pty' ? whole.replaceAll('\n', '\r\n') : whole), `${what}: ${JSON.stringify(row.args)} gave ${text.length} bytes, and not what it prints: ${JSON.stringify([text.slice(0, 100), text.slice(-100)])}; ${row.message}`)
        this.world.count('whole outputs')
      }
      for (const tag of text.match(tags) ?? []) if (genuine(tag)) known.found.push(tag)
    }
  }

  get where() { return `room ${this.number}, seed ${this.world.seed}:` }

  /** All that the room's log says, when nothing happens any more. */
  async log(kinds) {
    const res = await this.api(`/history?format=jsonl&kind=${kinds}`)
    assert.equal(res.status, 200)
    return (await res.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line))
  }

  /** Every number has one run, of which all was compared. */
  async checkRuns() {
    await this.compare()
    const rows = await (await this.api('/runs')).json()
    const last = rows[0]?.number ?? 0
    rows.forEach((row, i) => {
      assert.equal(row.number, last - i, `${this.where} numbers have a gap`)
      assert.equal(row.state, 'finished', `${this.where} run ${row.number} has not ended`)
      assert.ok(row.status && row.message && row.finished_at, `${this.where} run ${row.number} has no verdict`)
    })
    for (const n of this.accepted) assert.ok(n >= 1 && n <= last, `${this.where} run ${n} was accepted, and ${last} is the last`)
    for (const n of this.runs.keys()) assert.ok(n <= last, `${this.where} run ${n} was told, and ${last} is the last`)
    for (let n = 1; n <= last; n++) if (!this.runs.has(n)) this.runs.set(n, { number: n }) // nobody was there
    await this.compare()
    for (const [n, known] of this.runs) assert.ok(known.compared, `${this.where} run ${n} has not ended`)
  }

  /** The log is in order, and only drivers' keys are in it and in what programs print. */
  async checkLog() {
    const entries = await this.log('run,stdin,driver,open,join,leave,output')
    const steps = ['queued', 'started', 'stage', 'exited']
    const runs = new Map() // number → how far
    const ends = new Map() // `${run}.${stream}` → bytes
    const typed = new Map() // tag → entry's data
    let driver = null
    let at = ''
    for (const e of entries) {
      const { data } = e
      assert.ok(new Date(at || 0) <= new Date(e.at), `${this.where} ${e.kind} at ${e.at} follows what was at ${at}`)
      at = e.at
      const what = `${this.where} ${e.kind} ${JSON.stringify(data).slice(0, 300)} at ${at}`
      switch (e.kind) {
        case 'open': driver = null; break
        case 'driver': driver = data.driver; break
        case 'stdin':
          assert.equal(data.by, driver, `${what}: somebody else drives`)
          for (const tag of (data.data ?? data.host?.data)?.match(tags) ?? []) {
            assert.ok(!typed.has(tag), `${what} is there twice`)
            typed.set(tag, data)
          }
          break
        case 'run': {
          const step = steps.indexOf(data.event)
          const before = runs.get(data.run)
          // The log is written behind everybody's back: what happened just before a kill may be
          // missing. The run itself is not.
          if (before === undefined) {
            assert.ok(data.event === 'queued' || (this.cuts.has(data.run) && data.status === 'lost'), what)
            assert.ok(data.run === 1 || runs.has(data.run - 1) || this.cuts.has(data.run - 1), `${what} follows a gap`)
          } else {
            assert.ok(step > before || (data.event === 'stage' && step === before), `${what} is told after ${steps[before]}`)
          }
          runs.set(data.run, step)
          if (data.event === 'exited') assert.equal(data.status, this.runs.get(data.run).verdict.status, what)
          break
        }
        case 'output': {
          const key = `${data.run}.${data.stream}`
          assert.equal(data.offset, ends.get(key) ?? 0, `${what}: it does not follow what was before`)
          ends.set(key, data.offset + data.bytes)
          const step = runs.get(data.run)
          assert.ok(step !== 3 && (step >= 1 || this.cuts.has(data.run)), `${what}: the run is ${steps[step]}`)
          break
        }
      }
    }
    for (const [n, { verdict, found }] of this.runs) {
      if (runs.get(n) !== 3) {
        assert.ok(this.cuts.has(n) && verdict.status !== 'lost', `${this.where} the log has no end of run ${n} (${verdict.status})`)
        this.world.count(`end unlogged: ${verdict.status}`)
      }
      for (const stream of streams.slice(1)) assert.equal(ends.get(`${n}.${stream}`) ?? 0, verdict.output[stream], `${this.where} ${stream} of run ${n} in the log`)
      for (const tag of found) {
        const sender = this.senders.get(tag)
        const what = `${this.where} ${tag}, which run ${n} (${verdict.status}) has got`
        assert.ok(sender, `${what}, was typed by nobody`)
        assert.ok(!this.refused.has(tag), `${what}, was refused`)
        const entry = typed.get(tag)
        if (!entry && this.cuts.has(n)) { this.world.count('typed, unlogged'); continue }
        assert.ok(entry, `${what}, is not in the log`)
        assert.ok(entry.run === n && sender.person.ids.has(entry.by), `${what}, is logged as ${JSON.stringify(entry)}`)
        this.world.count('typed and read')
      }
    }
    for (const tag of this.refused) assert.ok(!typed.has(tag), `${this.where} ${tag} was refused and is in the log`)
  }
}

class World {
  counts = {}
  lost = 0 // bytes that were seen and are not kept
  up = true
  waking = new Set()
  former = [] // processes of servers that were killed

  constructor({ seed, log, pace }) {
    Object.assign(this, { seed, log, pace, r: new Random(seed) })
    this.failed = new Promise((_, reject) => { this.fail = reject })
    this.failed.catch(() => {})
  }

  count(what, n = 1) { this.counts[what] = (this.counts[what] ?? 0) + n }

  wake() { for (const look of [...this.waking]) look() }

  /** Resolves when so many more runs have ended. */
  async runsEnd(n) {
    const target = (this.counts.runs ?? 0) + n
    await this.orFail(within(new Promise((resolve) => {
      const look = () => {
        if ((this.counts.runs ?? 0) < target) return
        this.waking.delete(look)
        resolve()
      }
      this.waking.add(look)
      look()
    }), () => `${n} runs to end; ${JSON.stringify(this.counts)}`, 120_000))
  }

  orFail(promise) { return Promise.race([promise, this.failed]) }

  async open(rooms, args) {
    this.server = await startServer({ args: ['--runs-at-once', '100', '--runs-per-minute', '1000000', '--runs-per-minute-room', '1000000', '--runs-per-minute-address', '1000000', ...args] })
    this.rooms = Array.from({ length: rooms }, (_, i) => new Room(this, i))
    for (const room of this.rooms) await room.open()
  }

  /** Kills a process of a box: its init, or the program or what runs ahead of it. */
  async killInBox() {
    const all = await family(this.server.pid)
    const inside = all.filter((p) => p.space !== all[0].space)
    if (inside.length === 0) return
    const victim = this.r.pick(inside)
    this.count(victim.name === 'box-init' ? 'init killed' : 'program killed')
    try { process.kill(victim.pid, 'SIGKILL') } catch (err) { if (err.code !== 'ESRCH') throw err }
  }

  async killServer() {
    this.count('server killed')
    this.former.push(...await family(this.server.pid))
    const dead = this.server.kill()
    this.up = false
    await dead
    // What the kernel still holds for a client is seen as well.
    await within(Promise.all(this.rooms.flatMap((room) => room.people.map(({ connection }) => {
      connection?.ws.resume()
      return connection?.gone
    }))), 'everybody to notice the kill')
    await this.server.start()
    await gone(this.former)
    this.former = []
    // Before anybody comes back and asks for more: what was lost keeps what was seen.
    for (const room of this.rooms) {
      const [last] = await (await room.api('/runs')).json()
      if (last) room.cuts.add(last.number)
      await room.compare()
    }
    this.up = true
  }

  /**
   * What the server has open when nobody is there, without what it has for the boxes that
   * wait: which those are depends on who came last, so they are counted by themselves.
   */
  async resources() {
    const text = await (await fetch(`${this.server.adminUrl}/debug/pprof/goroutine?debug=1`)).text()
    const total = (what) => [...text.matchAll(what)].reduce((n, m) => n + Number(m[1]), 0)
    const processes = await family(this.server.pid)
    // A box has its init, and from when it is built the process that becomes the program.
    const [own, inside] = split(processes, (p) => p.space === processes[0].space)
    const boxes = [...new Set(inside.map((p) => p.space))]
    const built = boxes.filter((space) => inside.filter((p) => p.space === space).length > 1).length
    const blank = boxes.length - built
    // database/sql opens and closes readers as they are wanted, up to a bound.
    const [database, server] = split(await descriptorsOf(own[0].pid), (target) => target.includes('/corun.db'))
    const launcher = await descriptorsOf(launcherOf(own).pid)
    // For one that is built the server has its terminal and two sockets, and two goroutines.
    // The launcher has for each box its init and what tells that memory ran out; for one that
    // is built its folder and its count of sockets, and for the other two sockets and the image.
    const memory = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1
    return {
      goroutines: total(/total (\d+)/g) - total(/^(\d+) @.*\n(?:#.*\n)*?#.*connectionCleaner/gm) - 2 * built,
      server: server.length - 3 * built, launcher: launcher.length - (3 + memory) * built - (4 + memory) * blank, processes: own.length,
      built, blank, database: database.length, open: { server, launcher, processes: processes.map((p) => p.name) }, text,
    }
  }

  async metrics() {
    const text = await (await fetch(`${this.server.adminUrl}/metrics`)).text()
    const sum = (name) => [...text.matchAll(new RegExp(`^corun_${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce((n, m) => n + Number(m[1]), 0)
    return {
      runs: sum('runs_active') + sum('runs_queued'), left: sum('box_leftovers'), people: sum('participants'),
      ready: sum('boxes_ready'), missing: sum('boxes_wanted') - sum('boxes_ready'), building: sum('boxes_building'), text,
    }
  }

  /** Connections to the server that are open: callers keep those of HTTP for a while. */
  async sockets() {
    const port = this.server.port.toString(16).toUpperCase().padStart(4, '0')
    return (await readFile('/proc/net/tcp', 'utf8')).split('\n').filter((line) => new RegExp(`^\\s*\\d+: 0100007F:${port} \\S+ 01 `).test(line)).length
  }

  /** Waits until nothing goes on, and every box that should wait does. */
  async rest() {
    let m
    return within((async () => {
      for (;;) {
        m = await this.metrics()
        if (m.runs + m.people + m.building === 0 && m.missing === 0 && m.left === 0 && await this.sockets() === 0) return m
        await tick(100)
      }
    })(), () => `the server to rest:\n${m?.text.split('\n').filter((l) => /^corun_(runs|box|part)/.test(l)).join('\n')}`, 120_000)
  }

  /** Nobody is there, and nothing goes on; the last runs are stopped. */
  async leave() {
    for (const room of this.rooms) {
      for (const p of room.people) if (p.connection) { p.connection.ws.resume(); p.connection.ws.close(); await p.connection.gone }
      const [last] = await (await room.api('/runs')).json()
      if (last && last.state !== 'finished') await room.api(`/runs/${last.number}/stop`, { method: 'POST' })
    }
    await this.rest()
  }

  /** What a server needs that has worked once: connections to its store, boxes, and so on. */
  async warm() {
    await Promise.all(this.rooms.slice(0, 8).map(async (room) => {
      const client = new Person(room, 9, room.token)
      await client.connect()
      for (const mode of ['terminal', 'pipes']) {
        for (const language of ['python', 'bash']) {
          const res = await room.api('/runs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ language, entry: language === 'python' ? 'main.py' : 'main.sh', args: ['lines', '3'], mode }) })
          const { number, detail } = await res.json()
          assert.equal(res.status, 202, detail)
          await this.orFail(within((async () => {
            while (!room.runs.get(number)?.verdict) await new Promise((resolve) => { const look = () => { this.waking.delete(look); resolve() }; this.waking.add(look) })
          })(), 'a run to end'))
        }
      }
      await room.log('run,output')
      client.connection.ws.close()
      await client.connection?.gone
    }))
  }

  /** All is again as it was before anybody came, and no box is there but those that wait. */
  async back(before) {
    let now, ready
    const more = () => [
      ...['goroutines', 'server', 'launcher', 'processes'].filter((what) => now[what] > before[what]),
      ...(now.built > ready ? ['built'] : []), ...(now.blank > 1 ? ['blank'] : []), ...(now.database > mostOfDatabase ? ['database'] : []),
    ]
    await within((async () => {
      do {
        ready = (await this.rest()).ready
        now = await this.resources()
        if (more().length > 0) await tick(200)
      } while (more().length > 0)
    })(), () => `${more()} to be as before: ${JSON.stringify({ ...before, text: 0 })}, now ${JSON.stringify({ ...now, text: 0 })}, ${ready} boxes ready\n${now.text.slice(0, 6000)}`, 120_000)
    return now
  }

  async close() {
    this.ended = true
    if (!this.server) return
    const processes = [...this.former, ...await family(this.server.pid).catch(() => [])] // it may be dead
    for (const room of this.rooms ?? []) for (const p of room.people ?? []) p.connection?.ws.terminate()
    const { port, dataDir } = this.server
    await this.server.stop()
    await gone(processes)
    // Of no server that there was anything is left.
    const groups = []
    for (const controller of await readdir('/sys/fs/cgroup').catch(() => [])) {
      groups.push(...(await readdir(`/sys/fs/cgroup/${controller}`).catch(() => [])).filter((name) => name.startsWith(`corun-${port}`)))
      if (controller.startsWith(`corun-${port}`)) groups.push(controller)
    }
    const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').filter((line) => line.includes(dataDir) || line.includes(`corun-${port}`))
    assert.deepEqual([groups, mounts], [[], []], 'cgroups and mounts that are left')
  }
}

/**
 * Has rooms live through kills of the server, and of boxes in between, and goes on until
 * seconds are over. Gives what happened, in numbers.
 */
export async function storm({ seed, rooms, kills, seconds = 0, pace = 400, args = [], log = () => {} }) {
  const world = new World({ seed, log, pace })
  try {
    const until = Date.now() + 1000 * seconds
    await world.open(rooms, args)
    await world.warm()
    await world.rest()
    const before = await world.resources()
    const living = world.rooms.map((room) => room.live().catch((err) => world.fail(err)))
    const { r } = world
    for (let kill = 0; kill < kills || Date.now() < until; kill++) {
      for (let part = r.between(1, 4); part > 0; part--) {
        await world.runsEnd(r.between(1, rooms))
        await world.killInBox()
      }
      await world.orFail(world.killServer())
      log(`${kill + 1} kills: ${JSON.stringify(world.counts)}`)
    }
    // The last server has worked as the first one had, and as long as the others.
    for (let part = 2; part > 0; part--) {
      await world.runsEnd(rooms)
      await world.killInBox()
    }
    world.ended = true
    await world.orFail(Promise.all(living))
    await world.leave()
    for (const room of world.rooms) {
      await room.checkRuns()
      await room.checkLog()
    }
    await world.orFail(Promise.resolve())
    const after = await world.back(before)
    for (const of of [before, after]) { delete of.text; delete of.open }
    await world.close()
    return { ...world.counts, unkept: world.lost, before: JSON.stringify(before), after: JSON.stringify(after) }
  } catch (err) {
    const said = world.server?.log.split('\n').filter((line) => /level=(WARN|ERROR)|panic|goroutine/.test(line))
    err.message += `\nThe server said:\n${said?.slice(-20).join('\n')}\n${JSON.stringify(world.counts)}`
    await world.close().catch((also) => { err.message += `\n${also.message}` })
    throw err
  }
}
