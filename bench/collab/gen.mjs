// Makes what the load generator sends, with yjs: node gen.mjs FOLDER B4
//
// B4 is the document of bench/engine. A file holds streams of updates, version 1, one after
// the other: varuint client, varuint updates, and for each its length and bytes.
import * as fs from 'node:fs'
import * as path from 'node:path'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'

const [folder, b4] = process.argv.slice(2)

// The same numbers every time.
let seed = 12345
const random = () => { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return seed }

const write = (name, streams) => {
  const encoder = encoding.createEncoder()
  for (const { client, updates } of streams) {
    encoding.writeVarUint(encoder, client)
    encoding.writeVarUint(encoder, updates.length)
    for (const update of updates) encoding.writeVarUint8Array(encoder, update)
  }
  // A file that is there is whole.
  const file = path.join(folder, name)
  fs.writeFileSync(file + '.part', encoding.toUint8Array(encoder))
  fs.renameSync(file + '.part', file)
}

// typed is what somebody sends who types so many characters.
const typed = (length) => {
  const doc = new Y.Doc()
  doc.clientID = random()
  const text = doc.getText('content')
  const updates = []
  doc.on('update', (update) => updates.push(update))
  for (let i = 0; i < length; i++) text.insert(i, i % 40 === 39 ? '\n' : String.fromCharCode(97 + random() % 26))
  doc.destroy()
  return { client: doc.clientID, updates }
}

const whole = (text) => {
  const doc = new Y.Doc()
  doc.clientID = random()
  doc.getText('content').insert(0, text)
  return { client: doc.clientID, updates: [Y.encodeStateAsUpdate(doc)] }
}

// copies makes a document many times as long: each copy has a client of its own, who has
// begun where the one before ended, and comes as an update of its own.
const copies = (update, count) => {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, update)
  if (doc.store.clients.size !== 1) throw new Error('the document has more than one client')
  const [first] = doc.store.clients.keys()
  const [name] = doc.share.keys()
  let last = doc.getText(name)._start
  while (last.right !== null) last = last.right
  const end = last.lastId.clock
  const updates = []
  for (let i = 0; i < count; i++) {
    const client = first + i
    const { structs, ds } = Y.decodeUpdate(update)
    const moved = (id) => id && Y.createID(client, id.clock)
    const encoder = new Y.UpdateEncoderV1()
    encoding.writeVarUint(encoder.restEncoder, 1)
    encoding.writeVarUint(encoder.restEncoder, structs.length)
    encoder.writeClient(client)
    encoding.writeVarUint(encoder.restEncoder, structs[0].id.clock)
    for (const struct of structs) {
      struct.id = moved(struct.id)
      if (struct instanceof Y.Item) {
        struct.origin = moved(struct.origin)
        struct.rightOrigin = moved(struct.rightOrigin)
        if (i > 0 && struct.origin === null) struct.origin = Y.createID(client - 1, end)
      }
      struct.write(encoder, 0)
    }
    const deleted = ds.clients.get(first) ?? []
    encoding.writeVarUint(encoder.restEncoder, 1)
    encoder.resetDsCurVal()
    encoding.writeVarUint(encoder.restEncoder, client)
    encoding.writeVarUint(encoder.restEncoder, deleted.length)
    for (const { clock, len } of deleted) {
      encoder.writeDsClock(clock)
      encoder.writeDsLen(len)
    }
    updates.push(encoder.toUint8Array())
  }
  const all = new Y.Doc()
  for (const update of updates) Y.applyUpdate(all, update)
  if (all.getText(name).toString() !== doc.getText(name).toString().repeat(count)) throw new Error('the copies are not what they should be')
  return { client: first, updates }
}

fs.mkdirSync(folder, { recursive: true })
const doc = fs.readFileSync(b4)
write('b4.bin', [{ client: 0, updates: [doc] }])
write('b4x10.bin', [copies(doc, 10)])
write('small.bin', [whole('package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hello, room")\n}\n'.repeat(3))])
write('short.bin', Array.from({ length: 640 }, () => typed(900)))
write('long.bin', Array.from({ length: 24 }, () => typed(60000)))
