// Edits: of Yjs clients, of every kind of type, and of the engine, which knows
// some of them. Where an edit takes place is given by random numbers, modulo what
// is there when it is made, so that an edit still means something when others
// before it have been left out.
import * as Y from 'yjs'
import * as random from './random.mjs'
import { entriesOf, kinds, lastValue, roots } from './tree.mjs'

const T = Y.Text.prototype
const M = Y.Map.prototype
const A = Y.Array.prototype
const X = Y.XmlFragment.prototype

/** The shared types of a document by what edits fit them, in a fixed order; test/peer has the same one. */
export function collect(doc) {
  const found = { texts: [], maps: [], arrays: [], xmls: [] }
  for (const [name, type] of roots) {
    const t = doc.share.get(name)
    if (t !== undefined) add(found, t, kinds.get(type))
  }
  return found
}

function add(found, t, kind) {
  switch (kind) {
    case 'text': case 'xmltext': found.texts.push(t); break
    case 'map': case 'xmlhook': found.maps.push(t); break
    case 'xmlelement': found.maps.push(t); found.xmls.push(t); break
    case 'array': found.arrays.push(t); break
    default: found.xmls.push(t)
  }
  for (let n = t._start; n !== null; n = n.right) {
    if (!n.deleted && n.content.constructor === Y.ContentType) addValue(found, n.content.type)
  }
  if (t._map.size > 0) for (const [, item] of entriesOf(t)) addValue(found, lastValue(item))
}

function addValue(found, v) {
  if (v instanceof Y.AbstractType) add(found, v, kinds.get(v.constructor))
}

/** A stretch of up to six units of what has a length. */
function span(op, length) {
  const index = op.a % length
  return [index, 1 + (op.b % Math.min(length - index, 6))]
}

/** A new nested type, made from a description, because an edit may be made twice. */
function nested(d) {
  switch (d.kind) {
    case 'text': return new Y.Text(d.text)
    case 'map': return new Y.Map(d.entries.map(([k, v]) => [k, content(v)]))
    case 'array': { const a = new Y.Array(); a.push(d.list.map(content)); return a }
    case 'xmlfragment': return new Y.XmlFragment()
    case 'xmltext': return new Y.XmlText(d.text)
    case 'xmlhook': { const h = new Y.XmlHook(d.name); for (const [k, v] of d.entries) h.set(k, content(v)); return h }
    case 'xmlelement': {
      const e = new Y.XmlElement(d.name)
      for (const [k, v] of d.entries) e.setAttribute(k, v)
      if (d.children.length > 0) e.insert(0, d.children.map(nested))
      return e
    }
  }
}

class Nested { constructor(d) { Object.assign(this, d) } }
class Subdocument { constructor(options) { this.options = options } }

function content(v) {
  if (v instanceof Nested) return nested(v)
  if (v instanceof Subdocument) return new Y.Doc(v.options)
  return v
}

// Yjs writes formats into the object that it is given.
const copy = (formats) => ({ ...formats })

/** What an edit does, as a function of the document's types, by name. */
const run = {
  textInsert(t, op) { T.insert.call(t, op.a % (t._length + 1), op.text) },
  textInsertWith(t, op) { T.insert.call(t, op.a % (t._length + 1), op.text, copy(op.formats)) },
  textEmbed(t, op) { T.insertEmbed.call(t, op.a % (t._length + 1), content(op.value), copy(op.formats)) },
  textDelete(t, op) { if (t._length > 0) T.delete.call(t, ...span(op, t._length)) },
  textFormat(t, op) { if (t._length > 0) T.format.call(t, ...span(op, t._length), copy(op.formats)) },
  textAttribute(t, op) { T.setAttribute.call(t, op.text, op.value) },
  textRemoveAttribute(t, op) { T.removeAttribute.call(t, op.text) },
  textDelta(t, op) {
    if (t._length === 0) return
    const [index, n] = span(op, t._length)
    const delta = [{ retain: index }, { retain: n, attributes: copy(op.formats) }, { insert: op.text }]
    if (op.b % 3 === 0) delta[1] = { delete: n }
    T.applyDelta.call(t, index === 0 ? delta.slice(1) : delta)
  },
  mapSet(t, op) { M.set.call(t, op.text, content(op.value)) },
  mapDelete(t, op) {
    const found = entriesOf(t)
    if (found.length > 0) M.delete.call(t, found[op.a % found.length][0])
  },
  mapClear(t) { for (const [k] of entriesOf(t)) M.delete.call(t, k) },
  arrayInsert(t, op) { A.insert.call(t, op.a % (t._length + 1), op.values.map(content)) },
  arrayPush(t, op) { A.push.call(t, op.values.map(content)) },
  arrayDelete(t, op) { if (t._length > 0) A.delete.call(t, ...span(op, t._length)) },
  // What Yjs before 13.0 wrote, and documents still hold.
  arrayLegacy(t, op) {
    Y.transact(t.doc, (tx) => {
      const right = t._start
      const id = Y.createID(t.doc.clientID, Y.getState(t.doc.store, t.doc.clientID))
      new Y.Item(id, null, null, right, right && right.id, t, null, new Y.ContentJSON(op.values)).integrate(tx, 0)
      if (t._searchMarker) t._searchMarker.length = 0 // they would be wrong now
    })
  },
  xmlInsert(t, op) { X.insert.call(t, op.a % (t._length + 1), op.values.map(content)) },
  xmlDelete(t, op) { if (t._length > 0) X.delete.call(t, ...span(op, t._length)) },
}

const targets = (name) => (name.startsWith('text') ? 'texts' : name.startsWith('map') ? 'maps' : name.startsWith('array') ? 'arrays' : 'xmls')
const rootOf = { texts: ['text', Y.Text], maps: ['map', Y.Map], arrays: ['array', Y.Array], xmls: ['xml', Y.XmlFragment] }

/** Makes an edit; typed tells whether the document's root types are to be made what they are. */
export function apply(doc, op, typed) {
  const family = targets(op.name)
  const [name, type] = rootOf[family]
  if (typed) doc.get(name, type)
  else doc.get(name)
  const found = collect(doc)[family]
  run[op.name](found[op.target % found.length], op)
}

const place = (r, name) => ({ name, target: r.chance(0.5) ? 0 : r.u32(), a: r.chance(0.3) ? r.below(3) : r.u32(), b: r.u32() })

function subdocument(r) {
  const options = { guid: 'guid-' + r.u32().toString(36) }
  if (r.chance(0.3)) options.gc = false
  if (r.chance(0.3)) options.autoLoad = true
  if (r.chance(0.3)) options.meta = random.jsonValue(r, 1)
  return new Subdocument(options)
}

function newType(r, depth = 0) {
  const inner = () => (depth < 2 && r.chance(0.25) ? newType(r, depth + 1) : random.element(r))
  const entries = () => Array.from({ length: r.below(3) }, () => [random.key(r), inner()])
  switch (r.below(5)) {
    case 0: case 1: return new Nested({ kind: 'text', text: r.chance(0.7) ? random.text(r) : undefined })
    case 2: return new Nested({ kind: 'map', entries: entries() })
    case 3: return new Nested({ kind: 'array', list: Array.from({ length: r.below(3) }, inner) })
    default: return newXML(r, depth)
  }
}

function newXML(r, depth = 0) {
  const kind = r.weighted([[5, 'xmlelement'], [3, 'xmltext'], [1, 'xmlhook'], [depth > 0 ? 0.5 : 0, 'xmlfragment']])
  if (kind === 'xmltext') return new Nested({ kind, text: r.chance(0.7) ? random.text(r) : undefined })
  if (kind === 'xmlhook') return new Nested({ kind, name: r.pick(['hook', 'Käse', '']), entries: r.chance(0.5) ? [[random.key(r), random.element(r)]] : [] })
  if (kind === 'xmlfragment') return new Nested({ kind })
  return new Nested({
    kind,
    name: r.pick(['p', 'DIV', 'Über', 'h1', 'p']),
    entries: r.chance(0.5) ? [[random.key(r), attribute(r)]] : [],
    children: depth < 2 ? Array.from({ length: r.below(3) }, () => newXML(r, depth + 1)) : [],
  })
}

const attribute = (r) => (r.chance(0.8) ? random.text(r) : random.anyValue(r))

function elements(r) {
  return Array.from({ length: r.pick([1, 1, 2, 3]) }, () => r.weighted([[8, random.element], [1.5, newType], [0.4, subdocument]])(r))
}

/** What a client or the engine may do to a kind of type, with its weight. */
const client = {
  texts: [
    [5, (r) => ({ ...place(r, 'textInsert'), text: random.text(r) })],
    [2, (r) => ({ ...place(r, 'textInsertWith'), text: random.text(r), formats: random.formats(r) })],
    [4, (r) => place(r, 'textDelete')],
    [3, (r) => ({ ...place(r, 'textFormat'), formats: random.formats(r) })],
    [1, (r) => ({ ...place(r, 'textEmbed'), value: r.chance(0.6) ? random.embed(r) : newType(r), formats: r.chance(0.5) ? random.formats(r) : {} })],
    [1, (r) => ({ ...place(r, 'textDelta'), text: random.text(r), formats: random.formats(r) })],
    [0.3, (r) => ({ ...place(r, 'textAttribute'), text: random.key(r), value: random.anyValue(r) })],
    [0.2, (r) => ({ ...place(r, 'textRemoveAttribute'), text: random.key(r) })],
  ],
  maps: [
    [5, (r) => ({ ...place(r, 'mapSet'), text: random.key(r), value: random.anyValue(r) })],
    [2, (r) => ({ ...place(r, 'mapSet'), text: random.key(r), value: newType(r) })],
    [0.4, (r) => ({ ...place(r, 'mapSet'), text: random.key(r), value: subdocument(r) })],
    [2, (r) => place(r, 'mapDelete')],
    [0.2, (r) => place(r, 'mapClear')],
  ],
  arrays: [
    [5, (r) => ({ ...place(r, 'arrayInsert'), values: elements(r) })],
    [1, (r) => ({ ...place(r, 'arrayPush'), values: elements(r) })],
    [3, (r) => place(r, 'arrayDelete')],
    [0.3, (r) => ({ ...place(r, 'arrayLegacy'), values: Array.from({ length: r.between(1, 3) }, () => random.jsonValue(r)) })],
  ],
  xmls: [
    [5, (r) => ({ ...place(r, 'xmlInsert'), values: Array.from({ length: r.pick([1, 1, 2]) }, () => newXML(r)) })],
    [2, (r) => place(r, 'xmlDelete')],
  ],
}

/** The engine makes new types empty. */
const engineKind = (r) => new Nested({ kind: r.pick(['text', 'text', 'map', 'array', 'xmltext', 'xmlfragment']), entries: [], list: [] })

const engine = {
  texts: [
    [5, (r) => ({ ...place(r, 'textInsert'), text: random.text(r) })],
    [2, (r) => ({ ...place(r, 'textInsertWith'), text: random.text(r), formats: random.formats(r) })],
    [4, (r) => place(r, 'textDelete')],
    [3, (r) => ({ ...place(r, 'textFormat'), formats: random.formats(r) })],
    [1, (r) => ({ ...place(r, 'textEmbed'), value: random.embed(r), formats: r.chance(0.5) ? random.formats(r) : {} })],
    [1, (r) => ({ ...place(r, 'textReplace'), text: r.chance(0.1) ? '' : random.text(r) + random.text(r) })],
  ],
  maps: [
    [5, (r) => ({ ...place(r, 'mapSet'), text: random.key(r), value: random.anyValue(r) })],
    [2, (r) => ({ ...place(r, 'mapSet'), text: random.key(r), value: engineKind(r) })],
    [2, (r) => place(r, 'mapDelete')],
  ],
  arrays: [
    [5, (r) => ({ ...place(r, 'arrayInsert'), values: Array.from({ length: r.pick([1, 1, 2, 3]) }, () => (r.chance(0.8) ? random.element(r) : engineKind(r))) })],
    [3, (r) => place(r, 'arrayDelete')],
  ],
}

/** A random edit; weights tells which kinds of types a history is about. */
export function randomOp(r, weights, byEngine) {
  const all = byEngine ? engine : client
  const family = r.weighted(Object.keys(all).map((name) => [weights[name], name]))
  return r.weighted(all[family])(r)
}

const codes = {
  textInsert: 1, textInsertWith: 2, textEmbed: 3, textDelete: 4, textFormat: 5, textReplace: 6,
  mapSet: 7, mapDelete: 8, arrayInsert: 9, arrayDelete: 10,
}

/** Writes a transaction for the engine. */
export function writeEdit(w, ops, fail) {
  w.u8(fail ? 1 : 0)
  w.u32(ops.length)
  for (const op of ops) {
    w.u8(codes[op.name])
    w.u32(op.target)
    w.u32(op.a)
    w.u32(op.b)
    switch (op.name) {
      case 'textInsert': case 'textReplace': w.str(op.text); break
      case 'textInsertWith': w.str(op.text); writeMembers(w, op.formats); break
      case 'textEmbed': writeValue(w, op.value); writeMembers(w, op.formats); break
      case 'textFormat': writeMembers(w, op.formats); break
      case 'mapSet': w.str(op.text); writeValue(w, op.value); break
      case 'arrayInsert': w.u32(op.values.length); for (const v of op.values) writeValue(w, v); break
    }
  }
}

function writeMembers(w, o) {
  const names = Object.keys(o)
  w.u32(names.length)
  for (const name of names) {
    w.str(name)
    writeValue(w, o[name])
  }
}

function writeValue(w, v) {
  if (v === null) w.u8(0)
  else if (v === undefined) w.u8(1)
  else if (v === true) w.u8(2)
  else if (v === false) w.u8(3)
  else if (typeof v === 'number') { w.u8(4); w.f64(v) }
  else if (typeof v === 'bigint') { w.u8(5); w.i64(v) }
  else if (typeof v === 'string') { w.u8(6); w.str(v) }
  else if (v instanceof Uint8Array) { w.u8(7); w.bytes(v) }
  else if (Array.isArray(v)) { w.u8(8); w.u32(v.length); for (const e of v) writeValue(w, e) }
  else if (v instanceof Nested) { w.u8(10); w.str(v.kind) }
  else { w.u8(9); writeMembers(w, v) }
}

/** Reads what writeEdit wrote, for reproducers. */
export function readEdit(buf) {
  let at = 0
  const skip = (n) => { at += n; return at - n }
  const u8 = () => buf.readUInt8(skip(1))
  const u32 = () => buf.readUInt32LE(skip(4))
  const bytes = () => { const n = u32(); return buf.subarray(skip(n), at) }
  const str = () => bytes().toString()
  const members = () => Object.fromEntries(Array.from({ length: u32() }, () => [str(), value()]))
  const values = () => Array.from({ length: u32() }, value)
  function value() {
    switch (u8()) {
      case 0: return null
      case 1: return undefined
      case 2: return true
      case 3: return false
      case 4: return buf.readDoubleLE(skip(8))
      case 5: return buf.readBigInt64LE(skip(8))
      case 6: return str()
      case 7: return Uint8Array.from(bytes())
      case 8: return values()
      case 9: return members()
      default: return new Nested({ kind: str(), entries: [], list: [] })
    }
  }
  const fail = u8() === 1
  const list = Array.from({ length: u32() }, () => {
    const code = u8()
    const op = { name: Object.keys(codes).find((name) => codes[name] === code), target: u32(), a: u32(), b: u32() }
    switch (op.name) {
      case 'textInsert': case 'textReplace': op.text = str(); break
      case 'textInsertWith': op.text = str(); op.formats = members(); break
      case 'textEmbed': op.value = value(); op.formats = members(); break
      case 'textFormat': op.formats = members(); break
      case 'mapSet': op.text = str(); op.value = value(); break
      case 'arrayInsert': op.values = values(); break
    }
    return op
  })
  return { list, fail }
}
