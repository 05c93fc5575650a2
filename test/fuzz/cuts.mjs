// Holds the document engine against Yjs in histories of which updates arrive in
// pieces that overlap: each is what Y.diffUpdate cuts of an update at clocks that need
// be nobody's. They arrive in any order, some twice, so that they wait for each other.
//
//   go build -o /tmp/peer ./test/peer
//   cd test && node fuzz/cuts.mjs --peer /tmp/peer --histories 2000 --seed 1
import { parseArgs } from 'node:util'
import * as Y from 'yjs'
import { applied, comparePending, compareState, compareTree, describe, Disagreement, reader } from './history.mjs'
import * as ops from './ops.mjs'
import { Peer } from './peer.mjs'
import { mix, Random } from './random.mjs'
import { roots } from './tree.mjs'

const { values: options } = parseArgs({
  options: {
    peer: { type: 'string' },
    histories: { type: 'string', default: '2000' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
  },
})
const seed = Number(options.seed)
const words = ['a', 'bc', 'def', '😀', 'x😀', '😀😀', 'y😀z']

/** Clients that write and exchange what they have; gives states as updates, of different moments. */
function write(r) {
  const weights = r.pick([null, null, { texts: 1, maps: 1, arrays: 1, xmls: 0 }, { texts: 2, maps: 2, arrays: 2, xmls: 2 }])
  const clients = Array.from({ length: r.pick([1, 2, 2, 3, 4]) }, (_, i) => {
    const doc = new Y.Doc({ gc: true, guid: 'room' })
    doc.clientID = i + 1
    for (const [name, type] of roots) doc.get(name, type)
    return doc
  })
  const updates = []
  for (let n = r.between(2, 10); n > 0; n--) {
    const doc = r.pick(clients)
    const text = doc.getText('text')
    if (weights !== null && r.chance(0.6)) doc.transact(() => ops.apply(doc, ops.randomOp(r, weights, false), true))
    else if (r.chance(0.3)) Y.applyUpdate(doc, Y.encodeStateAsUpdate(r.pick(clients)))
    else if (r.chance(0.25) && text.length > 0) {
      const at = r.below(text.length)
      text.delete(at, r.between(1, Math.min(3, text.length - at)))
    } else text.insert(r.chance(0.5) ? text.length : r.below(text.length + 1), r.pick(words))
    if (r.chance(0.5)) updates.push(Y.encodeStateAsUpdate(doc))
  }
  for (const doc of clients) updates.push(Y.encodeStateAsUpdate(doc))
  return updates
}

/** What there is beyond clocks that need be nobody's. */
function cut(r, update) {
  const { to } = Y.parseUpdateMeta(update)
  const sv = new Map()
  for (const [client, clock] of to) if (r.chance(0.7)) sv.set(client, r.below(clock + 1))
  return Y.diffUpdate(update, Y.encodeStateVector(sv))
}

/** What is given, as [version, update]; all there is comes last. */
function history(r) {
  const updates = write(r)
  const pieces = []
  for (let n = r.pick([r.between(2, 8), r.between(6, 25)]); n > 0; n--) {
    let piece = cut(r, r.pick(updates))
    if (r.chance(0.2)) piece = Y.mergeUpdates([piece, cut(r, r.pick(updates))])
    pieces.push(piece)
    if (r.chance(0.2)) pieces.push(piece)
  }
  r.shuffle(pieces)
  const versions = r.pick([[1], [2], [1, 2]])
  return [...pieces, ...updates].map((u) => {
    const version = r.pick(versions)
    return [version, version === 2 ? Y.convertUpdateFormatV1ToV2(u) : u]
  })
}

/** Gives a history to the engine and to Yjs; what differs first, or null. */
async function compare(peer, gc, steps) {
  const mirror = reader(gc)
  let found = null
  const note = (what, detail) => { found ??= { what, detail } }
  peer.create(1000, gc, () => {})
  steps.forEach(([version, update], at) => {
    const when = at === steps.length - 1 ? ' at the end' : ''
    peer.apply(version, update, (status, answer) => {
      if (status !== 'ok') note(`apply: ${status}`, { engine: answer.toString() })
      applied(mirror, version, update)
    })
    const against = (comparison) => (_, answer) => {
      try {
        comparison(answer)
      } catch (err) {
        if (!(err instanceof Disagreement)) throw err
        note(err.what + when, { after: at + 1, ...err.detail })
      }
    }
    peer.pending(against((answer) => comparePending(mirror, answer)))
    peer.encode(2, null, against((bytes) => compareState(mirror, 2, null, bytes)))
    peer.tree(against((answer) => compareTree(mirror, answer)))
  })
  await peer.flush()
  return found
}

/** The fewest steps that still differ in the same way. */
async function shrink(peer, gc, steps, what) {
  for (let again = true; again;) {
    again = false
    for (let i = steps.length - 1; i >= 0; i--) {
      const fewer = steps.toSpliced(i, 1)
      if ((await compare(peer, gc, fewer))?.what === what) {
        steps = fewer
        again = true
      }
    }
  }
  return steps
}

const peer = new Peer(options.peer)
const kinds = new Map()
const [from, histories] = [Number(options.from), Number(options.histories)]
for (let n = from; n < from + histories; n++) {
  const r = new Random(mix(seed, n))
  const [gc, steps] = [r.chance(0.7), history(r)]
  const found = await compare(peer, gc, steps)
  if (found === null) continue
  if (!kinds.has(found.what)) kinds.set(found.what, [])
  kinds.get(found.what).push({ n, gc, steps })
}
for (const [what, list] of kinds) {
  console.log(`DISAGREEMENT: ${what}, in ${list.length} histories`)
  let smallest = null
  for (const { n, gc, steps } of list.slice(0, 25)) {
    const few = await shrink(peer, gc, steps, what)
    const size = few.reduce((sum, [, update]) => sum + update.length, 0)
    if (smallest === null || size < smallest.size) smallest = { n, gc, few, size }
  }
  const { n, gc, few, size } = smallest
  console.log(`  the smallest is of history ${n}, ${few.length} updates of ${size} bytes, garbage collection ${gc ? 'on' : 'off'}`)
  for (const [version, update] of few) console.log([`  v${version} ${Buffer.from(update).toString('hex')}`, ...describe(version, update)].join('\n    '))
  for (const [key, value] of Object.entries((await compare(peer, gc, few)).detail)) console.log(`  ${key}: ${JSON.stringify(value)}`)
}
const differ = [...kinds.values()].reduce((sum, list) => sum + list.length, 0)
console.log(`${histories} histories in pieces, ${differ} disagreements`)
peer.close()
if (differ > 0) process.exitCode = 1
