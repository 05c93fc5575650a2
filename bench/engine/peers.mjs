// The other engines, driven by bench/engine: reads requests, one a line, as JSON
//   {"engine": "yjs"|"ywasm", "work": "...", "n": 50000, "cpu": false}
// and answers each with a line: {"ms": …}, {"bytes": …}, {"text": "…"},
// {"skip": true} or {"error": "…"}.
// Every sample is checked for the right text.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { gunzipSync } from 'node:zlib'
import * as Y from 'yjs'

const data = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, 'testdata')
const read = (name) => readFileSync(join(data, name))
const unzipped = (name) => gunzipSync(read(name))

function updatesOf(name) {
  const stream = unzipped(name)
  const updates = []
  for (let at = 0; at < stream.length;) {
    const n = stream.readUInt32LE(at)
    updates.push(new Uint8Array(stream.subarray(at + 4, at + 4 + n)))
    at += 4 + n
  }
  return updates
}

// Updates are taken apart only for what needs them: a quarter of a million small
// arrays on the heap would slow all else down.
const b4 = { get updates() { return updatesOf('b4-updates-v1.bin.gz') }, v1: new Uint8Array(read('b4-doc-v1.bin')), v2: new Uint8Array(read('b4-doc-v2.bin')), text: unzipped('b4-final.txt.gz').toString() }
const b2 = { get updates() { return updatesOf('b2-updates-v1.bin.gz') }, text: unzipped('b2-final.txt.gz').toString() }
const root = 'text'

const wasmEngine = (W) => ({
  make: () => new W.YDoc(),
  apply: (doc, update) => W.applyUpdate(doc, update),
  applyV2: (doc, update) => W.applyUpdateV2(doc, update),
  encode: (doc) => W.encodeStateAsUpdate(doc),
  encodeV2: (doc) => W.encodeStateAsUpdateV2(doc),
  text: (doc, name) => doc.getText(name).toString(),
  free: (doc) => doc.free(),
  // The memory only grows, and what of it is in use cannot be told: what one
  // document makes a new instance grow by is the nearest there is.
  memory: () => W.__wasm.memory.buffer.byteLength,
  fresh: () => wasmEngine(newInstance())
})

const require = createRequire(import.meta.url)

/** ywasm makes its instance as it is loaded; another takes loading it again. */
function newInstance() {
  delete require.cache[require.resolve('ywasm')]
  return require('ywasm')
}

const engines = {
  yjs: {
    make: () => new Y.Doc(),
    apply: Y.applyUpdate,
    applyV2: Y.applyUpdateV2,
    encode: (doc) => Y.encodeStateAsUpdate(doc),
    encodeV2: (doc) => Y.encodeStateAsUpdateV2(doc),
    merge: (updates) => Y.mergeUpdates(updates),
    text: (doc, name) => doc.getText(name).toString(),
    free: (doc) => doc.destroy(),
    memory: () => {
      const m = process.memoryUsage()
      return m.heapUsed + m.arrayBuffers
    },
    fresh: () => engines.yjs
  },
  ywasm: wasmEngine(newInstance())
}

/** The root that the trace is about is not named in its description. */
function rootOf(update) {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, update)
  return [...doc.share.keys()][0] ?? root
}
const roots = { b4: rootOf(b4.v1), b2: rootOf(new Uint8Array(read('b2-doc-v1.bin'))) }

function check(engine, doc, name, want) {
  const got = engine.text(doc, name)
  if (got !== want) throw new Error(`the text has ${got.length} units, not ${want.length}`)
}

let cpuClock = false

/** Milliseconds, by the wall clock or of the processor, all threads together. */
function now() {
  if (!cpuClock) return performance.now()
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function timed(f) {
  global.gc()
  const start = now()
  const result = f()
  return { ms: now() - start, result }
}

function applyAll(engine, trace, name) {
  const updates = trace.updates
  const { ms, result: doc } = timed(() => {
    const doc = engine.make()
    for (const update of updates) engine.apply(doc, update)
    return doc
  })
  check(engine, doc, name, trace.text)
  engine.free(doc)
  return { ms }
}

/** How often the short works are done before they are timed, for the compilers. */
const warmUps = 3

function load(engine, apply, update) {
  for (let i = 0; i < warmUps; i++) {
    const doc = engine.make()
    apply(doc, update)
    engine.free(doc)
  }
  const { ms, result: doc } = timed(() => {
    const doc = engine.make()
    apply(doc, update)
    return doc
  })
  check(engine, doc, roots.b4, b4.text)
  engine.free(doc)
  return { ms }
}

function encode(engine, encoded, v2) {
  const doc = engine.make()
  engine.apply(doc, b4.v1)
  for (let i = 0; i < warmUps; i++) encoded(doc)
  const { ms, result } = timed(() => encoded(doc))
  engine.free(doc)
  const again = new Y.Doc()
  ;(v2 ? Y.applyUpdateV2 : Y.applyUpdate)(again, result)
  check(engines.yjs, again, roots.b4, b4.text)
  return { ms }
}

function heap(engine, fill) {
  global.gc()
  global.gc()
  const before = engine.memory()
  const doc = engine.make()
  fill(engine, doc)
  global.gc()
  global.gc()
  const bytes = engine.memory() - before
  check(engine, doc, roots.b4, b4.text)
  engine.free(doc)
  return { bytes }
}

const work = {
  'b4-stream': (e) => applyAll(e, b4, roots.b4),
  'b2-stream': (e) => applyAll(e, b2, roots.b2),
  'load-v1': (e) => load(e, e.apply, b4.v1),
  'load-v2': (e) => load(e, e.applyV2, b4.v2),
  'encode-v1': (e) => encode(e, e.encode, false),
  'encode-v2': (e) => encode(e, e.encodeV2, true),
  'heap-load': (e) => heap(e.fresh(), (e, doc) => e.apply(doc, b4.v1)),
  'heap-stream': (e) => {
    const updates = b4.updates
    const fill = (e, doc) => { for (const u of updates) e.apply(doc, u) }
    const first = e.make() // V8 lays the updates out anew as they are first read
    fill(e, first)
    const result = heap(e.fresh(), fill)
    e.free(first)
    return result
  },
  // What is right after the first n updates, for the merges of others.
  prefix: (e, n) => {
    const doc = new Y.Doc()
    for (const u of b4.updates.slice(0, n)) Y.applyUpdate(doc, u)
    return { text: doc.getText(roots.b4).toString() }
  },
  merge: (e, n) => {
    if (!e.merge) return { skip: true }
    const updates = b4.updates.slice(0, n)
    const { ms, result } = timed(() => e.merge(updates))
    const [a, b] = [new Y.Doc(), new Y.Doc()]
    Y.applyUpdate(a, result)
    for (const u of updates) Y.applyUpdate(b, u)
    check(engines.yjs, a, roots.b4, b.getText(roots.b4).toString())
    return { ms }
  }
}

const versions = { node: process.version, yjs: null, ywasm: null }
for (const name of ['yjs', 'ywasm']) {
  versions[name] = JSON.parse(readFileSync(join(data, '..', 'node_modules', name, 'package.json'))).version
}
console.log(JSON.stringify(versions))
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  cpuClock = request.cpu
  try {
    console.log(JSON.stringify(work[request.work](engines[request.engine], request.n)))
  } catch (err) {
    console.log(JSON.stringify({ error: `${request.engine}: ${err.message}` }))
  }
}
