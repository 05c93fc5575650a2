// One history: a few Yjs clients and the engine edit one document, and what they
// send each other arrives late, twice, out of order and in either encoding.
//
// The engine is held against a mirror: a Yjs document that is given exactly what
// the engine is given, in the same order and encoding, and whose root types nobody
// touches, as on a server. The two must be equal at any moment: state vector, what
// is pending, values, and the encoded state byte for byte. An edit of the engine's
// own goes into the mirror as a local transaction, so that it does not, as it would
// after a remote one, clean up the formats of nested texts; then the bytes are the
// same there, too. Some of these edits are made again by Yjs itself, in a copy of
// the mirror, and must read the same.
//
// That the clients agree with the mirror in the end is up to Yjs alone. It is
// looked at all the same, because a mistake in these tests would show there. In
// few histories Yjs does not converge, nearly always because a format that changes
// nothing splits a surrogate pair in one document only; or it throws.
import * as Y from 'yjs'
import * as ops from './ops.mjs'
import { mix, Random } from './random.mjs'
import { roots, treeOf, xmlOf } from './tree.mjs'

/** The engine and Yjs do not agree; what is short and the same for the same cause. */
export class Disagreement extends Error {
  constructor(what, detail = {}) {
    super(what)
    this.what = what
    this.detail = detail
  }
}

/** Yjs itself throws, so there is nothing to hold the engine against. */
export class YjsFailure extends Error {}

const REMOTE = Symbol('remote')

export const encoded = (doc, version, sv) => (version === 2 ? Y.encodeStateAsUpdateV2(doc, sv ?? undefined) : Y.encodeStateAsUpdate(doc, sv ?? undefined))
export const applied = (doc, version, update) => (version === 2 ? Y.applyUpdateV2(doc, update, REMOTE) : Y.applyUpdate(doc, update, REMOTE))
const merged = (version, updates) => (version === 2 ? Y.mergeUpdatesV2(updates) : Y.mergeUpdates(updates))

export function sameBytes(a, b) {
  return a.length === b.length && Buffer.compare(a, b) === 0
}

function tryYjs(f) {
  try {
    return f()
  } catch (err) {
    throw new YjsFailure(err.message, { cause: err })
  }
}

// A guid is given because Yjs would take a while to make one.
const newDoc = (gc) => new Y.Doc({ gc, guid: 'room' })

/** A document that only reads; no client has its id. */
export function reader(gc, version, update) {
  const doc = newDoc(gc)
  doc.clientID = 0
  if (update !== undefined) applied(doc, version, update)
  return doc
}

/**
 * Lets Yjs integrate what it could but does not: where structs that wait for
 * another client's came together with some of that client's that wait, too, it does
 * not look at the former again before the latter can go on. An engine that does is
 * right.
 */
export function unstick(mirror) {
  if (mirror.store.pendingStructs === null) return
  const all = tryYjs(() => reader(mirror.gc, 2, encoded(mirror, 2)))
  if (sameBytes(Y.encodeStateVector(all), Y.encodeStateVector(mirror))) return
  while (mirror.store.pendingStructs !== null) {
    const { update } = mirror.store.pendingStructs
    const before = Y.encodeStateVector(mirror)
    mirror.store.pendingStructs = null
    tryYjs(() => Y.applyUpdateV2(mirror, update))
    if (sameBytes(Y.encodeStateVector(mirror), before)) return
  }
}

const pendingOf = (doc) => [doc.store.pendingStructs !== null, doc.store.pendingDs !== null]

/** Which kinds of types a history is about. */
const profiles = [
  { texts: 1, maps: 0, arrays: 0, xmls: 0 },
  { texts: 0, maps: 1, arrays: 0, xmls: 0 },
  { texts: 0, maps: 0, arrays: 1, xmls: 0 },
  { texts: 1, maps: 0.3, arrays: 0, xmls: 3 },
  { texts: 1, maps: 1, arrays: 1, xmls: 0 },
  { texts: 2, maps: 2, arrays: 2, xmls: 2 },
]

/** Ids of clients: any, neighbours, the smallest and the largest. */
function clientIDs(r, n) {
  const from = r.u32()
  const ways = [
    () => r.u32() || 1,
    () => from + r.below(40) + 1,
    () => 1 + r.below(300),
    () => Number.MAX_SAFE_INTEGER - r.below(40),
    () => r.u32() * 2 ** 21 + r.u32() % 2 ** 21 || 1,
  ]
  const way = r.pick([ways[0], ways[0], ways[1], ways[2], ways[3], ways[4], () => r.pick(ways)()])
  const ids = new Set()
  while (ids.size < n) ids.add(way())
  return [...ids]
}

/** How many actions a history has. */
export function length(seed, number) {
  return new Random(mix(seed, number, 0xffffffff)).between(4, 32)
}

export class History {
  /** log, if given, is called with a line for each thing that happens. */
  constructor(peer, seed, number, log) {
    this.peer = peer
    this.seed = seed
    this.number = number
    this.log = log
    this.steps = [] // what the engine was given, for a reproducer
    this.updates = [] // of everybody
    this.snapshots = [] // older states, as bytes
    this.diverged = null // or where Yjs itself went wrong
  }

  /** Runs the actions of these numbers, and then a last synchronisation. */
  async run(actions) {
    try {
      this.setUp(new Random(mix(this.seed, this.number, 0)))
      for (const i of actions) {
        const r = new Random(mix(this.seed, this.number, i + 1))
        await r.weighted(this.menu).call(this, r)
      }
      const last = new Random(mix(this.seed, this.number, 0xfffffffe))
      await this.synchronise(last)
      await this.docless(last)
      await this.peer.flush()
    } catch (err) {
      if (err instanceof YjsFailure) this.diverged = err.message
      throw err
    }
  }

  setUp(r) {
    const n = r.pick([2, 2, 3, 3, 4, 5])
    const ids = clientIDs(r, n + 9)
    this.freeIDs = ids.slice(n)
    const gc = r.pick(['on', 'on', 'on', 'off', 'mixed'])
    const collects = () => gc === 'on' || (gc === 'mixed' && r.chance(0.5))
    this.weights = r.pick(profiles)
    this.clients = []
    for (let i = 0; i < n; i++) this.clients.push(this.newClient(i, ids[i], collects(), r.chance(0.6)))
    this.gc = collects()
    this.queue = [] // of the engine
    this.mirror = reader(this.gc)
    const own = r.chance(0.65) ? 3 : 0
    this.order = r.pick([0.8, 0.5, 0.5, 0.1]) // how much of it there is in what arrives
    this.menu = [
      [10, this.edit],
      [4, this.deliver],
      [4, this.deliverToEngine],
      [own, this.editByEngine],
      [r.chance(0.3) ? 3 : 0, this.undo],
      [2, this.query],
      [1.2, this.docless],
      [r.pick([0.4, 0.4, 3]), this.exchangeState],
      [0.7, this.keepSnapshot],
      [0.8, this.synchronise],
      [1, this.flush],
      [0.3, this.reloadClient],
      [0.3, this.reloadEngine],
      [0.3, this.touchRoot],
    ]
    this.engineID = this.firstEngineID = this.freeIDs.pop()
    this.log?.(`clients ${this.clients.map((c) => `${c.id}${c.doc.gc ? '' : ' (keeps)'}`).join(', ')}, the engine ${this.engineID}${this.gc ? '' : ' (keeps)'}`)
    this.peer.create(this.engineID, this.gc, this.ok('create'))
  }

  newClient(index, id, gc, touchesRoots) {
    const doc = newDoc(gc)
    doc.clientID = id
    if (touchesRoots) for (const [name, type] of roots) doc.get(name, type)
    const client = { index, id, doc, queue: [], undo: null }
    this.listen(client)
    return client
  }

  /** Sends others what a client does, and what it cleans up after others. */
  listen(client) {
    let v1 = null
    client.doc.on('update', (update) => { v1 = update })
    client.doc.on('updateV2', (v2, origin) => {
      if (origin !== REMOTE) this.send({ 1: v1, 2: v2 }, client)
    })
  }

  send(update, from) {
    this.updates.push(update)
    for (const client of this.clients) if (client !== from) client.queue.push(update)
    if (from !== undefined) this.queue.push(update)
  }

  /** Takes something out of a queue: one update or several, seldom in order. */
  take(r, queue) {
    const version = r.pick([1, 2])
    if (this.updates.length > 0 && r.chance(0.08)) return [version, r.pick(this.updates)[version]] // once more
    if (queue.length === 0) return [version, null]
    if (r.chance(this.order)) return [version, queue.shift()[version]]
    const picked = []
    const n = r.chance(0.6) ? 1 : r.between(2, 5)
    while (picked.length < n && queue.length > 0) picked.push(...queue.splice(r.below(queue.length), 1))
    return [version, tryYjs(() => merged(version, picked.map((u) => u[version])))]
  }

  give(client, version, update) {
    tryYjs(() => applied(client.doc, version, update))
  }

  giveEngine(version, update) {
    this.steps.push({ [`v${version}`]: update })
    this.peer.apply(version, update, (status, answer) => {
      tryYjs(() => applied(this.mirror, version, update))
      this.expectOK('apply', status, answer)
    })
  }

  expectOK(what, status, answer) {
    if (status !== 'ok') throw new Disagreement(`${what}: ${status}`, { engine: answer.toString() })
  }

  ok(what) { return (status, answer) => this.expectOK(what, status, answer) }

  // Actions

  edit(r) {
    const client = r.pick(this.clients)
    const list = Array.from({ length: r.pick([1, 1, 1, 2, 3]) }, () => ops.randomOp(r, this.weights, false))
    this.log?.(`client ${client.id} edits: ${list.map(show).join('; ')}`)
    tryYjs(() => client.doc.transact(() => { for (const op of list) ops.apply(client.doc, op, true) }))
  }

  deliver(r) {
    const client = r.pick(this.clients)
    for (let n = r.pick([1, 1, 2, 4]); n > 0; n--) {
      const [version, update] = this.take(r, client.queue)
      if (update === null) return
      this.log?.(`client ${client.id} gets v${version} ${base64(update)}`)
      this.give(client, version, update)
    }
  }

  deliverToEngine(r) {
    for (let n = r.pick([1, 1, 2, 4]); n > 0; n--) {
      const [version, update] = this.take(r, this.queue)
      if (update === null) return
      this.log?.(`the engine gets v${version} ${base64(update)}`)
      this.giveEngine(version, update)
    }
  }

  editByEngine(r) {
    const list = Array.from({ length: r.pick([1, 1, 2, 3]) }, () => ops.randomOp(r, this.weights, true))
    const fail = r.chance(0.08)
    const again = r.chance(0.3)
    this.log?.(`the engine edits${fail ? ' in vain' : ''}: ${list.map(show).join('; ')}`)
    let from = 0
    let to = 0
    this.peer.edit((w) => {
      from = w.length
      ops.writeEdit(w, list, fail)
      to = w.length
    }, (status, update) => this.edited(list, fail, again, status, update))
    this.steps.push({ edit: Buffer.from(this.peer.out.buf.subarray(from, to)) })
  }

  /** Holds an edit of the engine against Yjs, and takes it into the mirror. */
  edited(list, fail, again, status, update) {
    if (status !== 'ok' && status !== 'nothing') this.expectOK('edit', status, update)
    if (status === 'ok' && fail) throw new Disagreement('a failed edit changed something')
    unstick(this.mirror) // Yjs could not take an edit that builds on what it holds back
    if (again && !fail) editAgain(this.mirror, this.engineID, this.gc, list, status === 'ok' ? update : null)
    if (status !== 'ok') return
    takeEdit(this.mirror, update)
    this.send({ 1: Uint8Array.from(update), 2: tryYjs(() => Y.convertUpdateFormatV1ToV2(update)) })
  }

  undo(r) {
    const client = r.pick(this.clients)
    if (client.undo === null) {
      const scope = roots.filter(() => r.chance(0.6)).map(([name, type]) => client.doc.get(name, type))
      if (scope.length === 0) return
      // Either each transaction is a step of its own, or all are one step.
      client.undo = new Y.UndoManager(scope, { captureTimeout: r.chance(0.5) ? 0 : Number.MAX_SAFE_INTEGER })
    }
    const what = r.pick(['undo', 'undo', 'redo', 'stopCapturing'])
    this.log?.(`client ${client.id}: ${what}`)
    tryYjs(() => client.undo[what]())
  }

  /** Compares the engine with the mirror in the middle of things. */
  query(r) {
    this.log?.('the engine is compared')
    this.compare(r)
    if (r.chance(0.5)) this.compareTree()
  }

  async flush() {
    await this.peer.flush()
  }

  /** What a client lacks of another's state, in one piece, as when it connects. */
  exchangeState(r) {
    const from = r.pick(this.clients)
    const version = r.pick([1, 2])
    if (r.chance(0.4)) {
      const update = tryYjs(() => encoded(from.doc, version, r.chance(0.5) ? null : Y.encodeStateVector(this.mirror)))
      this.log?.(`the engine gets the state of client ${from.id}, v${version} ${base64(update)}`)
      this.giveEngine(version, update)
      return
    }
    const to = r.pick(this.clients)
    if (to === from) {
      this.log?.(`client ${to.id} gets the engine's state`)
      this.encode(version, Y.encodeStateVector(to.doc), (update) => this.give(to, version, update))
      return
    }
    this.log?.(`client ${to.id} gets the state of client ${from.id}`)
    this.give(to, version, tryYjs(() => encoded(from.doc, version, Y.encodeStateVector(to.doc))))
  }

  keepSnapshot(r) {
    const { doc } = r.pick(this.clients)
    this.snapshots.push({ sv: Y.encodeStateVector(doc), update: encoded(doc, 2) })
  }

  /** A client begins anew from what it had saved. */
  reloadClient(r) {
    const client = r.pick(this.clients)
    const version = r.pick([1, 2])
    this.log?.(`client ${client.id} reloads from v${version}`)
    client.undo?.destroy()
    client.undo = null
    const doc = tryYjs(() => reader(client.doc.gc, version, encoded(client.doc, version)))
    doc.clientID = client.id
    client.doc = doc
    if (r.chance(0.6)) for (const [name, type] of roots) doc.get(name, type)
    this.listen(client)
  }

  reloadEngine(r) {
    if (this.freeIDs.length === 0) return
    const version = r.pick([1, 2])
    const id = this.freeIDs.pop()
    this.log?.(`the engine reloads from v${version}, as ${id}`)
    this.steps.push({ reload: version, clientID: id })
    this.peer.reload(version, id, (status, answer) => {
      this.expectOK('reload', status, answer)
      this.mirror = tryYjs(() => reader(this.gc, version, encoded(this.mirror, version)))
      this.engineID = id
    })
  }

  /** A client makes a root type what it is after updates have come, or before. */
  touchRoot(r) {
    const [name, type] = r.pick(roots)
    r.pick(this.clients).doc.get(name, type)
  }

  // Comparisons

  /** Encodes the engine's state, and the mirror's, and goes on with that if they are equal. */
  encode(version, sv, then) {
    this.steps.push({ encode: version, ...(sv !== null && { sv }) })
    this.peer.encode(version, sv, (status, bytes) => {
      this.expectOK('encode', status, bytes)
      compareState(this.mirror, version, sv, bytes)
      then?.(Uint8Array.from(bytes))
    })
  }

  /** An older state vector, maybe one that nobody ever had; or none. */
  stateVector(r) {
    if (this.snapshots.length === 0 || r.chance(0.5)) return null
    const { sv } = r.pick(this.snapshots)
    if (r.chance(0.7)) return sv
    const clocks = Y.decodeStateVector(sv)
    for (const [client, clock] of clocks) {
      if (r.chance(0.5)) clocks.set(client, r.below(clock + 3))
      else if (r.chance(0.2)) clocks.delete(client)
    }
    return Y.encodeStateVector(clocks)
  }

  compare(r) {
    this.peer.pending((status, answer) => {
      this.expectOK('pending', status, answer)
      comparePending(this.mirror, answer)
    })
    this.peer.stateVector((status, answer) => {
      this.expectOK('state vector', status, answer)
      compareStateVector(this.mirror, answer)
    })
    this.encode(r.pick([1, 2]), this.stateVector(r))
  }

  compareTree() {
    this.peer.tree((status, answer) => {
      this.expectOK('tree', status, answer)
      compareTree(this.mirror, answer)
    })
  }

  /** Compares functions that need no document, on some of the updates so far. */
  async docless(r) {
    if (this.updates.length === 0) return
    const version = r.pick([1, 2])
    const suffix = version === 2 ? 'V2' : ''
    const list = Array.from({ length: r.pick([1, 2, 2, 3, 5, 8]) }, () => r.pick(this.updates)[version])
    if (r.chance(0.3)) list.splice(r.below(list.length), 0, tryYjs(() => encoded(r.pick(this.clients).doc, version, this.stateVector(r))))
    this.log?.(`functions without a document, v${version}, on ${list.length} updates`)
    const update = this.call('mergeUpdates' + suffix, list) ?? list[0]
    const sv = this.stateVector(r) ?? Y.encodeStateVector(r.pick(this.clients).doc)
    const diff = this.call('diffUpdate' + suffix, [update, sv])
    const other = r.chance(0.3) && diff !== null ? diff : update
    this.call('encodeStateVectorFromUpdate' + suffix, [other])
    this.call('parseUpdateMeta' + suffix, [other])
    this.call(version === 2 ? 'convertUpdateFormatV2ToV1' : 'convertUpdateFormatV1ToV2', [other])
  }

  /** Compares a function of Yjs's that needs no document, and gives what Yjs makes of it. */
  call(name, args) {
    const want = expectCall(name, args)
    if (want === null) return null
    this.peer.call(name, args, (status, answer) => compareCall(name, args, status, answer, want))
    return want
  }

  /** Delivers everything everywhere, and then compares all there is to compare. */
  async synchronise(r) {
    this.log?.('everything is delivered')
    for (let pass = 0; ; pass++) {
      for (const client of r.shuffle([...this.clients])) {
        while (client.queue.length > 0) {
          const [version, update] = this.take(r, client.queue)
          this.give(client, version, update)
        }
      }
      while (this.queue.length > 0) {
        const [version, update] = this.take(r, this.queue)
        this.log?.(`the engine gets v${version} ${base64(update)}`)
        this.giveEngine(version, update)
      }
      // What the engine has cleaned up by itself is in no update. Clients that get
      // it may clean up more.
      const version = r.pick([1, 2])
      this.encode(version, Y.encodeStateVector(this.clients[0].doc), (update) => {
        for (const client of this.clients) this.give(client, version, update)
      })
      await this.peer.flush()
      if (this.queue.length === 0 && this.clients.every((c) => c.queue.length === 0)) break
      if (pass === 20) throw new YjsFailure('the clients never come to an end of cleaning up')
    }
    this.compare(r)
    this.compareTree()
    this.peer.xml((status, answer) => {
      this.expectOK('xml', status, answer)
      compareXML(this.mirror, answer)
    })
    this.peer.roots((status, answer) => {
      this.expectOK('roots', status, answer)
      compareRoots(this.mirror, answer)
    })
    this.encode(1, null, (update) => this.load(r, 1, update))
    this.encode(2, null, (update) => this.load(r, 2, update))
    if (this.snapshots.length > 0) this.encodeSince(r.pick(this.snapshots), r.pick([1, 2]))
    await this.peer.flush()
    this.compareClients()
  }

  /** Yjs loads the state, in one of some cases: the bytes are known to be right. */
  load(r, version, update) {
    if (r.chance(0.1)) this.expectNormal(tryYjs(() => reader(this.gc, version, update)))
  }

  /** Yjs goes on from an older state. */
  encodeSince({ sv, update }, version) {
    this.encode(version, sv, (diff) => {
      this.expectNormal(tryYjs(() => {
        const doc = reader(this.gc, 2, update)
        applied(doc, version, diff)
        return doc
      }))
    })
  }

  expectNormal(doc) {
    if (treeOf(doc, true) !== treeOf(this.mirror, true)) this.diverged ??= 'a document loaded from the state'
  }

  compareClients() {
    const sv = Y.encodeStateVector(this.mirror)
    const tree = treeOf(this.mirror, true)
    for (const client of this.clients) {
      if (!sameBytes(Y.encodeStateVector(client.doc), sv)) this.diverged ??= 'a state vector'
      if (treeOf(client.doc, true) !== tree) this.diverged ??= 'a tree'
    }
  }
}

// What both a history and a replay compare

export function comparePending(mirror, answer) {
  unstick(mirror)
  const want = pendingOf(mirror).map(Number).join()
  const got = [...answer].join()
  if (got !== want) throw new Disagreement('pending structs and deletes', { engine: got, yjs: want })
}

export function compareStateVector(mirror, answer) {
  unstick(mirror)
  const want = Y.encodeStateVector(mirror)
  if (!sameBytes(answer, want)) throw new Disagreement('state vector', { engine: clocks(answer), yjs: clocks(want) })
}

const clocks = (sv) => [...Y.decodeStateVector(sv)].map((e) => e.join(':')).join(' ')

export function compareTree(mirror, answer) {
  unstick(mirror)
  const want = treeOf(mirror, false)
  if (answer.toString() !== want) throw new Disagreement('tree', { engine: answer.toString(), yjs: want })
}

export function compareXML(mirror, answer) {
  unstick(mirror)
  const want = tryYjs(() => xmlOf(mirror))
  if (answer.toString() !== want) throw new Disagreement('xml as a string', { engine: answer.toString(), yjs: want })
}

/** Yjs knows a root from when it reads of it, the engine from when something is in it or was to be. */
export function compareRoots(mirror, answer) {
  const names = JSON.parse(answer)
  for (const [name, t] of mirror.share) {
    if ((t._start !== null || t._map.size > 0) && !names.includes(name)) throw new Disagreement('names of roots', { engine: names.join(), missing: name })
  }
}

/** Compares an encoded state, and tells whether bytes that differ mean something else, too, which is worse. */
export function compareState(mirror, version, sv, bytes) {
  unstick(mirror)
  const want = tryYjs(() => encoded(mirror, version, sv))
  if (sameBytes(bytes, want)) return
  let means = 'Yjs reads them as the same'
  try {
    if (treeOf(reader(mirror.gc, version, bytes), true) !== treeOf(reader(mirror.gc, version, want), true)) means = 'Yjs reads them as another document'
  } catch (err) {
    means = `Yjs cannot read them: ${err.message}`
  }
  const pending = pendingOf(mirror).includes(true) ? ', with something pending' : ''
  throw new Disagreement(`encoded state v${version}${sv === null ? '' : ', since a state vector'}${pending}`, {
    note: means, stateVector: sv === null ? undefined : clocks(sv), engine: base64(bytes), yjs: base64(want), ...decodedBoth(version, bytes, want),
  })
}

function decodedBoth(version, engine, yjs) {
  return { engineStructs: describe(version, engine), yjsStructs: describe(version, yjs) }
}

/** An update in words. */
export function describe(version, update) {
  try {
    const { structs, ds } = version === 2 ? Y.decodeUpdateV2(update) : Y.decodeUpdate(update)
    const id = (i) => (i === null ? '-' : `${i.client}:${i.clock}`)
    const lines = structs.map((s) => {
      let line = `${id(s.id)}+${s.length} ${s.constructor.name}`
      if (s instanceof Y.Item) {
        const parent = s.parent === null ? '' : ` in ${typeof s.parent === 'string' ? s.parent : id(s.parent)}`
        const c = s.content
        const held = c.str ?? c.arr ?? c.embed ?? c.type?.constructor.name ?? (c.key !== undefined ? { [c.key]: c.value } : c.doc?.guid ?? '')
        line += ` ${c.constructor.name}${parent}${s.parentSub === null ? '' : `[${s.parentSub}]`} after ${id(s.origin)} before ${id(s.rightOrigin)} ${show(held)}`
      }
      return line
    })
    for (const [client, list] of ds.clients) lines.push(`deleted ${client}: ${list.map((d) => `${d.clock}+${d.len}`).join(' ')}`)
    return lines
  } catch (err) {
    return [`cannot be decoded: ${err.message}`]
  }
}

/** What a function gives in Yjs, as bytes; null where Yjs throws. */
export function expectCall(name, args) {
  try {
    if (name.startsWith('mergeUpdates')) return Y[name](args)
    if (name.startsWith('parseUpdateMeta')) {
      const { from, to } = Y[name](args[0])
      const side = (m) => [...m].sort((a, b) => b[0] - a[0]).map((e) => e.join(':') + ' ').join('') + ';'
      return Buffer.from(side(from) + side(to))
    }
    return Y[name](...args)
  } catch {
    return null
  }
}

export function compareCall(name, args, status, answer, want) {
  const detail = { call: name, args: args.map(base64), yjs: base64(want) }
  if (status !== 'ok') throw new Disagreement(`${name}: ${status}`, { ...detail, engine: answer.toString() })
  if (sameBytes(answer, want)) return
  detail.engine = base64(answer)
  if (/^(merge|diff|convert)/.test(name)) Object.assign(detail, decodedBoth(name.endsWith('V2') ? 2 : 1, answer, want))
  throw new Disagreement(name, detail)
}

/** Takes an edit of the engine's into the mirror, as one of its own. */
export function takeEdit(mirror, update) {
  tryYjs(() => Y.transact(mirror, (tx) => {
    Y.applyUpdate(mirror, update)
    tx.local = true
  }))
}

/**
 * Lets Yjs make an edit of the engine's, from the same state. What comes out must
 * read the same. It need not be the same bytes: among things that are deleted, a
 * place is as good as another, and which marks are there that no text is between
 * does not show.
 */
export function editAgain(mirror, clientID, gc, list, update) {
  // No function of Yjs's replaces a text; what it is to do is checked in the peer.
  if (list.some((op) => op.name === 'textReplace')) return
  const state = encoded(mirror, 2)
  const [byYjs, byEngine] = tryYjs(() => [reader(gc, 2, state), reader(gc, 2, state)])
  byYjs.clientID = clientID
  tryYjs(() => byYjs.transact(() => { for (const op of list) ops.apply(byYjs, op, false) }))
  if (update !== null) takeEdit(byEngine, update)
  // Yjs splits a surrogate pair that a format ends within even where it changes
  // nothing, and then has two U+FFFD that no other document has.
  const halves = (tree) => tree.replace(/[\ud800-\udfff\ufffd]/g, '?')
  const want = treeOf(byYjs, true)
  const got = treeOf(byEngine, true)
  if (halves(want) === halves(got)) return
  const before = treeOf(mirror, true)
  throw new Disagreement('an edit of the engine\'s own', { ops: list.map(show), before, engine: got, yjs: want, update: update && describe(1, update) })
}

export const base64 = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')

export function show(v) {
  return JSON.stringify(v, (_, x) => {
    if (typeof x === 'bigint') return `${x}n`
    if (x === undefined) return '(undefined)'
    if (typeof x === 'number' && (!Number.isFinite(x) || Object.is(x, -0))) return `(${Object.is(x, -0) ? '-0' : x})`
    if (x instanceof Uint8Array) return `(${x.length} bytes)`
    return x
  })
}
