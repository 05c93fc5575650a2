// A document as canonical, tagged JSON, to compare it with others'. The Go side
// writes the same, byte for byte, in test/peer/tree.go:
//
//   {"$u":1} undefined, {"$f":"-0|NaN|Infinity|-Infinity"}, {"$big":"…"}, {"$b":base64}
//   {"$t":"text|xmltext","l":length,"s":characters,"d":[{"i":…,"a":formats}]}
//   {"$t":"map|xmlhook","n":name of a hook,"v":{…}}
//   {"$t":"array","l":length,"v":[…]}
//   {"$t":"xmlfragment|xmlelement","n":name of an element,"l":length,"c":[…]}
//   {"$t":"doc","g":guid,"o":options}
//
// "a" has the attributes of a type that is no map and has some. Keys are sorted
// by UTF-16 units.
import * as Y from 'yjs'

export const kinds = new Map([
  [Y.Text, 'text'], [Y.Map, 'map'], [Y.Array, 'array'], [Y.XmlFragment, 'xmlfragment'],
  [Y.XmlElement, 'xmlelement'], [Y.XmlText, 'xmltext'], [Y.XmlHook, 'xmlhook'],
])

export const roots = [['text', Y.Text], ['map', Y.Map], ['array', Y.Array], ['xml', Y.XmlFragment]]

/**
 * Writes all roots. It looks at items, not through the types' methods, because it
 * must not make root types of what a server has never touched. normal joins
 * neighbours of the same format: marks that change nothing are between them in one
 * document, and cleaned up in another.
 */
export function treeOf(doc, normal) {
  return '{' + roots.map(([name, type]) => `"${name}":` + shared(doc.share.get(name), kinds.get(type), normal)).join(',') + '}'
}

const nothing = { _start: null, _map: new Map(), _length: 0 }

function shared(t = nothing, kind, normal) {
  const head = `{"$t":"${kind}"`
  switch (kind) {
    case 'map': return `${head},"v":${entries(t, normal)}}`
    case 'xmlhook': return `${head},"n":${JSON.stringify(t.hookName)},"v":${entries(t, normal)}}`
  }
  const attributes = entries(t, normal)
  const tail = attributes === '{}' ? '}' : `,"a":${attributes}}`
  switch (kind) {
    case 'text': case 'xmltext': return `${head},"l":${t._length},${delta(t, normal)}${tail}`
    case 'array': return `${head},"l":${t._length},"v":${list(t, normal)}${tail}`
    case 'xmlelement': return `${head},"n":${JSON.stringify(t.nodeName)},"l":${t._length},"c":${list(t, normal)}${tail}`
    default: return `${head},"l":${t._length},"c":${list(t, normal)}${tail}`
  }
}

/** The keys of a type that have a value, sorted, with their items. */
export function entriesOf(t) {
  const found = []
  for (const entry of t._map) if (!entry[1].deleted) found.push(entry)
  return found.sort((a, b) => (a[0] < b[0] ? -1 : 1))
}

export const lastValue = (item) => item.content.getContent()[item.length - 1]

function entries(t, normal) {
  if (t._map.size === 0) return '{}'
  return '{' + entriesOf(t).map(([key, item]) => JSON.stringify(key) + ':' + value(lastValue(item), normal)).join(',') + '}'
}

function list(t, normal) {
  const parts = []
  for (let n = t._start; n !== null; n = n.right) {
    if (n.deleted || !n.countable) continue
    for (const v of n.content.getContent()) parts.push(value(v, normal))
  }
  return '[' + parts.join(',') + ']'
}

function delta(t, normal) {
  const inserts = []
  const current = new Map()
  let all = ''
  let run = ''
  let last = null // the string that the next may be joined to
  const attributes = () => {
    if (current.size === 0) return ''
    return '{' + [...current.keys()].sort().map((key) => JSON.stringify(key) + ':' + value(current.get(key), normal)).join(',') + '}'
  }
  const add = (insert, isString) => {
    const a = attributes()
    if (isString && normal && last !== null && last.a === a) {
      last.text += insert
      return
    }
    const entry = { text: insert, isString, a }
    last = isString ? entry : null
    inserts.push(entry)
  }
  const flush = () => {
    if (run !== '') add(run, true)
    run = ''
  }
  for (let n = t._start; n !== null; n = n.right) {
    if (n.deleted) continue
    const c = n.content
    switch (c.constructor) {
      case Y.ContentString:
        all += c.str
        run += c.str
        break
      case Y.ContentFormat:
        flush()
        if (c.value === null) current.delete(c.key)
        else current.set(c.key, c.value)
        break
      case Y.ContentEmbed: case Y.ContentType:
        flush()
        add(value(c.getContent()[0], normal), false)
        break
    }
  }
  flush()
  const d = inserts.map((i) => `{"i":${i.isString ? JSON.stringify(i.text) : i.text}${i.a === '' ? '' : ',"a":' + i.a}}`)
  return `"s":${JSON.stringify(all)},"d":[${d.join(',')}]`
}

export function value(v, normal) {
  switch (typeof v) {
    case 'string': return JSON.stringify(v)
    case 'undefined': return '{"$u":1}'
    case 'bigint': return `{"$big":"${v}"}`
    case 'number':
      if (Number.isFinite(v)) return Object.is(v, -0) ? '{"$f":"-0"}' : String(v)
      return `{"$f":"${v}"}`
    case 'boolean': return String(v)
  }
  if (v === null) return 'null'
  if (v instanceof Uint8Array) return `{"$b":"${Buffer.from(v.buffer, v.byteOffset, v.length).toString('base64')}"}`
  if (Array.isArray(v)) return '[' + v.map((e) => value(e, normal)).join(',') + ']'
  if (v instanceof Y.AbstractType) return shared(v, kinds.get(v.constructor), normal)
  if (v instanceof Y.Doc) return `{"$t":"doc","g":${JSON.stringify(v.guid)},"o":${value(v._item.content.opts, normal)}}`
  return '{' + Object.keys(v).sort().map((key) => JSON.stringify(key) + ':' + value(v[key], normal)).join(',') + '}'
}

/** The root xml as toString() gives it, of a document whose roots nobody touched. */
export function xmlOf(doc) {
  const root = doc.share.get('xml')
  if (root === undefined) return ''
  // Half a surrogate pair cannot be in UTF-8.
  return Y.XmlFragment.prototype.toString.call(root).toWellFormed()
}
