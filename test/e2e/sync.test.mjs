// Stock yjs and y-websocket clients against the real server: convergence, roles,
// bad frames, and what survives kill -9.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { docUntil, liveClient, sameState, syncClient, within } from './clients.mjs'
import { makeRoom, startServer } from './server.mjs'

let server
before(async () => { server = await startServer() })
after(async () => { await server?.stop() })

/** A generator with a seed, so that a failure can be had again. */
function random(seed) {
  return (n) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor((seed / 2 ** 32) * n)
  }
}

function randomEdit(text, rnd) {
  const words = ['print', 'x = 1\n', '(', 'ä', '🙂', '\n', 'def f():\n    pass\n', '漢字']
  if (text.length > 0 && rnd(3) === 0) {
    const at = rnd(text.length)
    text.delete(at, Math.min(1 + rnd(5), text.length - at))
  } else {
    text.insert(rnd(text.length + 1), words[rnd(words.length)])
  }
}

test('three stock clients converge under concurrent random edits and reconnects', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9)
  const rnd = random(seed)
  const room = await makeRoom(server)
  const clients = [1, 2, 3].map(() => syncClient(server, room.id, room.tokens.guest))
  try {
    await Promise.all(clients.map((c) => c.synced()))
    for (let round = 0; round < 300; round++) {
      const c = clients[rnd(clients.length)]
      randomEdit(c.text, rnd)
      if (rnd(40) === 0) { c.provider.disconnect(); randomEdit(c.text, rnd); c.provider.connect() }
      if (rnd(10) === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    const [a, ...rest] = clients
    await docUntil(clients.map((c) => c.doc), () => rest.every((c) => sameState(a.doc, c.doc)), `all to agree (seed ${seed})`)
    for (const c of rest) assert.equal(c.text.toString(), a.text.toString(), `seed ${seed}`)
    assert.deepEqual(a.doc.store.pendingStructs, null)

    const res = await fetch(`${server.url}/api/v1/rooms/${room.id}/files`, { headers: { Authorization: `Bearer ${room.tokens.viewer}` } })
    const { files, state_vector: sv } = await res.json()
    assert.equal(files.find((f) => f.id === 'main').content, a.text.toString())
    assert.ok(sv.length > 0)
  } finally {
    clients.forEach((c) => c.close())
  }
})

// Every peer deletes the formats that a remote change has made redundant, and the server is
// one. It must say so: that others delete the same as well is no news to it by then, and who
// made the change does not.
test('formats that an edit has made redundant are gone for everybody', async () => {
  const room = await makeRoom(server)
  const clients = [1, 2, 3].map(() => syncClient(server, room.id, room.tokens.guest))
  const [a, b] = clients
  const docs = clients.map((c) => c.doc)
  const rich = (c) => c.doc.getXmlFragment('rich')
  try {
    await Promise.all(clients.map((c) => c.synced()))
    const text = new Y.XmlText()
    rich(a).insert(0, [text])
    text.insert(0, 'abcd')
    await docUntil(docs, () => clients.every((c) => rich(c).get(0)?.length === 4), 'the text')
    b.provider.disconnect()
    rich(b).get(0).delete(2, 2)
    text.format(2, 2, { strong: {} })
    b.provider.connect()
    const marks = () => Y.snapshot(a.doc).ds.clients.get(a.doc.clientID)?.reduce((n, range) => n + range.len, -2) ?? 0
    await docUntil(docs, () => marks() === 1, 'the mark to be deleted')
    await docUntil(docs, () => docs.every((d) => sameState(d, a.doc)), 'all to hear of it')
    await server.kill()
    await server.restart()
    const late = syncClient(server, room.id, room.tokens.guest)
    clients.push(late)
    await late.synced()
    assert.ok(sameState(late.doc, a.doc))
  } finally {
    clients.forEach((c) => c.close())
  }
})

test('a viewer reads and is seen, but what it writes reaches nobody', async () => {
  const room = await makeRoom(server)
  const guest = syncClient(server, room.id, room.tokens.guest)
  const viewer = syncClient(server, room.id, room.tokens.viewer)
  try {
    await Promise.all([guest.synced(), viewer.synced()])
    const refused = within(new Promise((resolve) => {
      viewer.provider.messageHandlers[2] = (_e, decoder) => resolve(Buffer.from(decoder.arr).toString())
    }), 'the refusal')
    viewer.text.insert(0, 'from the viewer')
    assert.match(await refused, /permission denied/)
    viewer.provider.awareness.setLocalStateField('user', { name: 'Vi' })
    await within(new Promise((resolve) => {
      guest.provider.awareness.on('change', () => {
        if ([...guest.provider.awareness.getStates().values()].some((s) => s.user?.name === 'Vi')) resolve()
      })
    }), "the viewer's awareness")
    guest.text.insert(0, 'from the guest')
    await docUntil(viewer.doc, () => viewer.text.toString().includes('from the guest'), 'the guest’s text')
    assert.equal(guest.text.toString(), 'from the guest')
  } finally {
    guest.close(); viewer.close()
  }
})

test('awareness of a closed connection goes away for the others', async () => {
  const room = await makeRoom(server)
  const stays = syncClient(server, room.id, room.tokens.guest)
  const leaves = syncClient(server, room.id, room.tokens.guest)
  try {
    await Promise.all([stays.synced(), leaves.synced()])
    const states = stays.provider.awareness
    leaves.provider.awareness.setLocalState({ user: { name: 'Leaver' } })
    const id = leaves.doc.clientID
    const changed = (check) => within(new Promise((resolve) => {
      const look = () => check() && resolve()
      states.on('change', look); look()
    }), 'awareness')
    await changed(() => states.getStates().has(id))
    leaves.provider.ws.terminate() // without a goodbye
    leaves.provider.shouldConnect = false
    await changed(() => !states.getStates().has(id))
  } finally {
    stays.close(); leaves.close()
  }
})

/** A socket that sends updates and reads nothing. */
async function sender(room, token) {
  const ws = new WebSocket(`${server.ws}/sync/${room.id}?token=${token}`)
  await within(new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject) }), 'a socket')
  return {
    send: (update) => ws.send(Buffer.concat([Buffer.from([0, 2]), varuint(update.length), update])),
    close: () => ws.close(),
  }
}

function varuint(n) {
  const bytes = []
  for (; n > 127; n = Math.floor(n / 128)) bytes.push((n % 128) | 128)
  return Buffer.from([...bytes, n])
}

/** Tells with wrong what waits at a stock client that is in step. */
function watched(client, wrong) {
  client.doc.on('afterTransaction', () => {
    const { pendingStructs, pendingDs } = client.doc.store
    if (client.provider.synced && (pendingStructs || pendingDs)) wrong.push({ pendingStructs, pendingDs })
  })
  return client
}

/** What several people typed, of whom none was connected, as updates in the order of a shuffle. */
function outOfOrder(rnd, { pieces }) {
  const writers = [1, 2, 3].map((n) => Object.assign(new Y.Doc(), { clientID: 1000 + n }))
  const updates = []
  for (const doc of writers) doc.on('update', (update, origin) => { if (origin !== 'other') updates.push(update) })
  for (let i = 0; i < 120; i++) {
    const doc = writers[rnd(3)]
    randomEdit(doc.getText('file/main'), rnd)
    if (rnd(4) === 0) Y.applyUpdate(writers[rnd(3)], Y.encodeStateAsUpdate(doc), 'other')
  }
  const all = Y.mergeUpdates(updates)
  // Some come with one that may be far from them, so that a part of both waits.
  for (let i = 0; i < 30; i++) updates.push(Y.mergeUpdates([updates[rnd(updates.length)], updates[rnd(updates.length)]]))
  if (pieces) {
    const { to } = Y.parseUpdateMeta(all)
    for (let i = 0; i < 60; i++) {
      const known = new Map([...to].map(([client, clock]) => [client, rnd(clock + 1)]))
      updates.push(Y.diffUpdate(updates[rnd(updates.length)], Y.encodeStateVector(known)))
    }
  }
  for (let i = updates.length - 1; i > 0; i--) {
    const j = rnd(i + 1);
    [updates[i], updates[j]] = [updates[j], updates[i]]
  }
  writers.forEach((doc) => doc.destroy())
  return { updates, all }
}

// Nothing that waits leaves the server: see ARCHITECTURE.md. Pieces are cut anywhere, also
// within characters, which all replicas then tear.
for (const pieces of [false, true]) test(`${pieces ? 'pieces of updates' : 'updates'} that reach the server out of order wait nowhere else`, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9)
  const rnd = random(seed)
  const clients = []
  for (let round = 0; round < 8; round++) {
    const room = await makeRoom(server)
    const wrong = []
    const join = async (version) => {
      const c = watched(syncClient(server, room.id, room.tokens.guest, { version }), wrong)
      clients.push(c)
      await c.synced()
      return c
    }
    try {
      const { updates, all } = outOfOrder(rnd, { pieces })
      const senders = [await sender(room, room.tokens.guest), await sender(room, room.tokens.guest)]
      await Promise.all(['1', '2', '3'].map(join))
      for (const [i, update] of updates.entries()) {
        senders[rnd(2)].send(update)
        if (i === updates.length >> 1) await join('3')
        if (rnd(10) === 0) randomEdit(clients[rnd(clients.length)].text, rnd)
        if (rnd(5) === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      senders[0].send(all)
      const want = new Y.Doc()
      Y.applyUpdate(want, all)
      const has = (doc) => [...Y.decodeStateVector(Y.encodeStateVector(want))].every(([client, clock]) => Y.getState(doc.store, client) >= clock)
      await docUntil(clients.map((c) => c.doc), () => clients.every((c) => has(c.doc)), `all to be seen (seed ${seed})`)
      const late = await join('3')
      await docUntil(clients.map((c) => c.doc), () => clients.every((c) => sameState(late.doc, c.doc)), `all to agree (seed ${seed})`)
      for (const c of clients) assert.equal(c.text.toString(), late.text.toString(), `seed ${seed}`)
      assert.deepEqual(wrong, [], `something waited at a client (seed ${seed})`)
      assert.deepEqual(clients.flatMap((c) => c.closes), [], `seed ${seed}`)
      senders.forEach((s) => s.close())
    } finally {
      clients.forEach((c) => c.close())
      clients.length = 0
    }
  }
})

test('kill -9 in the middle of typing loses nothing that another had seen', async () => {
  const own = await startServer()
  const clients = []
  try {
    const room = await makeRoom(own)
    const writer = syncClient(own, room.id, room.tokens.guest)
    const reader = syncClient(own, room.id, room.tokens.viewer)
    clients.push(writer, reader)
    await Promise.all([writer.synced(), reader.synced()])
    for (let crash = 0; crash < 5; crash++) {
      let typed = 0
      const typing = setInterval(() => writer.text.insert(writer.text.length, `${crash}.${typed++} `), 2)
      await docUntil(reader.doc, () => reader.text.toString().includes(`${crash}.20 `), 'typing to arrive')
      await own.kill()
      clearInterval(typing)
      const seen = reader.text.toString()
      // The writer must not repair what the server lost: it stays away.
      writer.provider.disconnect()
      reader.provider.disconnect()
      await own.start()
      const fresh = syncClient(own, room.id, room.tokens.viewer)
      clients.push(fresh)
      await fresh.synced()
      assert.ok(fresh.text.toString().startsWith(seen), `crash ${crash}: the server has ${fresh.text.length} of ${seen.length} characters that were seen`)
      writer.provider.connect()
      reader.provider.connect()
      await docUntil([reader.doc, writer.doc], () => sameState(reader.doc, writer.doc), 'all to agree again')
      assert.equal(reader.text.toString(), writer.text.toString())
    }
  } finally {
    clients.forEach((c) => c.close())
    await own.stop()
  }
})

/** A socket that sends one raw frame; resolves with the close. */
function raw(room, token, frame) {
  const ws = new WebSocket(`${server.ws}/sync/${room.id}?token=${token}`)
  ws.on('open', () => ws.send(frame))
  ws.on('error', () => {})
  return within(new Promise((resolve) => ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))), 'the close')
}

test('bad frames close their own connection and nobody else’s', async () => {
  const room = await makeRoom(server)
  const good = syncClient(server, room.id, room.tokens.guest)
  try {
    await good.synced()
    let lost = false
    good.provider.on('connection-close', () => { lost = true })
    const bad = [
      Buffer.from([]), Buffer.from([9]), Buffer.from([0]), Buffer.from([0, 7]), Buffer.from([0, 2, 5, 1]),
      Buffer.from([0, 2, 4, 255, 255, 255, 255]), Buffer.from([1, 200, 1]), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      'a text frame',
    ]
    for (const frame of bad) {
      const { code } = await raw(room, room.tokens.guest, frame)
      assert.equal(code, 1007, `frame ${JSON.stringify(frame)}`)
    }
    assert.equal((await raw(room, room.tokens.guest, Buffer.alloc(2 ** 20 + 1))).code, 1009)
    assert.equal(lost, false)
    const other = syncClient(server, room.id, room.tokens.guest)
    await other.synced()
    good.text.insert(0, 'still here')
    await docUntil(other.doc, () => other.text.toString() === 'still here', 'the text')
    other.close()
  } finally {
    good.close()
  }
})

/** The HTTP status with which a web socket is refused. */
function refusal(path) {
  const ws = new WebSocket(server.ws + path)
  return within(new Promise((resolve, reject) => {
    ws.on('unexpected-response', (_req, res) => resolve(res.statusCode))
    ws.on('open', () => reject(new Error(`${path} was let in`)))
  }), 'the refusal')
}

test('a socket without a right to the room is refused before it opens', async () => {
  const room = await makeRoom(server)
  const other = await makeRoom(server)
  for (const socket of ['sync', 'live']) {
    assert.equal(await refusal(`/${socket}/${room.id}`), 401)
    assert.equal(await refusal(`/${socket}/${room.id}?token=nonsense`), 404)
    assert.equal(await refusal(`/${socket}/${room.id}?token=${other.tokens.host}`), 404)
    assert.equal(await refusal(`/${socket}/${'0'.repeat(26)}?token=${room.tokens.host}`), 404)
  }
})

test('rotating a link disconnects those who came by it, ending the room everybody', async () => {
  const room = await makeRoom(server)
  const guest = syncClient(server, room.id, room.tokens.guest)
  const host = syncClient(server, room.id, room.tokens.host)
  try {
    await Promise.all([guest.synced(), host.synced()])
    const call = (method, path, body) => fetch(`${server.url}/api/v1/rooms/${room.id}${path}`, {
      method, body: body && JSON.stringify(body),
      headers: { Authorization: `Bearer ${room.tokens.host}`, 'Content-Type': 'application/json' },
    })
    const closed = (c) => within(new Promise((resolve) => c.provider.ws.addEventListener('close', (e) => resolve(e.code))), 'the close')
    const guestClosed = closed(guest)
    const rotated = await call('POST', '/tokens/guest/rotate')
    assert.equal(rotated.status, 200)
    assert.equal(await guestClosed, 4403)
    const { token } = await rotated.json()
    assert.equal(await refusal(`/sync/${room.id}?token=${room.tokens.guest}`), 404)
    const again = syncClient(server, room.id, token)
    await again.synced()
    again.close()
    assert.equal(host.provider.wsconnected, true)
    const hostClosed = closed(host)
    assert.equal((await call('PATCH', '', { ended: true })).status, 200)
    assert.equal(await hostClosed, 4410)
  } finally {
    guest.close(); host.close()
  }
})

test('where only the driver edits, what a stock client typed too late comes when it drives again', async () => {
  const room = await makeRoom(server)
  const people = await Promise.all(['host', 'guest'].map(async (role, i) => {
    const session = `${role}-0123456789-${i}`
    const live = await liveClient(server, room.id, room.tokens[role], { session })
    return { live, ...syncClient(server, room.id, room.tokens[role], { session }) }
  }))
  const [host, guest] = people
  const drives = (c) => Promise.all(people.map((p) => p.live.message('driver.changed', (m) => m.driver === c.live.me.id)))
  try {
    await Promise.all(people.map((p) => p.synced()))
    host.live.send({ type: 'room.update', driver_only: true })
    await guest.live.message('room.updated', (m) => m.room.driver_only)
    guest.live.send({ type: 'driver.take' })
    await drives(guest)
    guest.text.insert(0, 'guest ')
    await docUntil([host.doc], () => host.text.toString() === 'guest ', 'the driver\'s edit')
    host.live.send({ type: 'driver.take' })
    await drives(host)
    guest.text.insert(0, 'late ') // refused, and stays in the guest's editor
    host.text.insert(0, 'host ')
    await docUntil([guest.doc], () => guest.text.toString().includes('host '), 'the new driver\'s edit')
    assert.ok(!host.text.toString().includes('late'))
    host.live.send({ type: 'driver.give', to: guest.live.me.id })
    await guest.live.message('driver.changed', (m) => m.reason === 'given')
    guest.text.insert(0, 'now ')
    await docUntil([host.doc], () => ['late ', 'now '].every((s) => host.text.toString().includes(s)), 'what was refused, and what follows')
    assert.ok(sameState(host.doc, guest.doc))
  } finally {
    for (const p of people) { p.close(); p.live.close() }
  }
})

test('awareness of more than 64 KiB is refused', async () => {
  const room = await makeRoom(server)
  const c = syncClient(server, room.id, room.tokens.guest)
  const other = syncClient(server, room.id, room.tokens.guest)
  try {
    await Promise.all([c.synced(), other.synced()])
    const closed = within(new Promise((resolve) => c.provider.ws.addEventListener('close', (e) => resolve(e.code))), 'the close')
    c.provider.awareness.setLocalState({ blob: 'x'.repeat(70_000) })
    assert.equal(await closed, 1009)
    assert.equal([...other.provider.awareness.getStates().values()].some((s) => s.blob), false)
  } finally {
    c.close(); other.close()
  }
})
