// A room with a lobby: what the server refuses to those who wait, by raw sockets and
// fetch, and how stock clients come in when the host starts it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import { docUntil, liveClient, syncClient, within } from './clients.mjs'
import { makeRoom, startServer } from './server.mjs'

let server
before(async () => { server = await startServer() })
after(() => server?.stop())

const SECRET = 'the-answer-is-42'

/** A room with a lobby that has something of everything. */
async function prepared() {
  const room = await makeRoom(server, { language: 'python', lobby: true, title: SECRET, files: [{ path: 'main.py', content: `print("${SECRET}")\n` }] })
  const host = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna' })
  host.send({ type: 'chat', text: SECRET })
  await host.message('chat')
  host.send({ type: 'run.start' })
  await host.message('run.exited')
  return { room, host }
}

const api = (room, role, path, options = {}) => fetch(`${server.url}/api/v1/rooms/${room.id}${path}`, {
  ...options, headers: { Authorization: `Bearer ${room.tokens[role]}`, 'Content-Type': 'application/json' },
})

/** Opens a socket and gives all that it is sent until it says so, or how it was refused. */
function raw(path) {
  const ws = new WebSocket(`${server.ws}${path}`)
  const got = []
  ws.on('message', (data, binary) => got.push({ binary, text: data.toString('latin1') }))
  ws.on('error', () => {})
  return { ws, got }
}

test('who waits is told so, and nothing of the room', async () => {
  const { room, host } = await prepared()
  for (const role of ['guest', 'viewer']) {
    const { ws, got } = raw(`/live/${room.id}?token=${room.tokens[role]}&name=Gus`)
    await within(once(ws, 'message'), 'the first message')
    const first = JSON.parse(got[0].text)
    assert.deepEqual([first.type, first.waiting, first.you.name, first.you.role], ['lobby', true, 'Gus', role])
    assert.deepEqual(Object.keys(first).sort(), ['type', 'waiting', 'you'])
    // The host goes on, and the other asks for everything there is.
    host.send({ type: 'chat', text: SECRET })
    host.send({ type: 'run.start' })
    const asked = [
      { type: 'run.start' }, { type: 'run.stop' }, { type: 'stdin', data: 'x' }, { type: 'signal', signal: 'KILL' }, { type: 'chat', text: 'x' },
      { type: 'driver.request' }, { type: 'driver.take' }, { type: 'saved?' }, { type: 'room.update', lobby: false }, { type: 'participant.remove', id: host.me.id },
    ]
    for (const [i, msg] of asked.entries()) ws.send(JSON.stringify({ ...msg, ref: i }))
    ws.send(Buffer.from([0, 0, 0, 0, 1, 120]))
    await host.message('run.exited', (m) => m.run.number > 1, host.messages.length)
    ws.send(JSON.stringify({ type: 'ping', ref: 'last' }))
    await within(new Promise((resolve) => { ws.on('message', (data) => { if (data.toString().includes('"last"')) resolve() }) }), 'the answer to a ping')
    const answers = got.slice(1).map((m) => JSON.parse(m.text))
    assert.deepEqual(answers.map((m) => `${m.type} ${m.code ?? ''}`.trim()), [...asked.map(() => 'error not_allowed'), 'error not_allowed', 'pong'])
    assert.ok(answers.slice(0, -1).every((m) => /wait for the host/.test(m.message)))
    assert.ok(got.every((m) => !m.binary && !m.text.includes(SECRET) && !m.text.includes('Hanna')), JSON.stringify(got))
    ws.close()
  }
  host.close()
})

test('every call about the room is refused to who waits, with a reason, and served to the host', async () => {
  const { room, host } = await prepared()
  host.close()
  const calls = [
    ['GET', ''], ['GET', '/files'], ['GET', '/files?run=1'], ['GET', '/archive.zip'], ['GET', '/bundle'], ['GET', '/history'], ['GET', '/history?format=jsonl'],
    ['GET', '/playback'], ['GET', '/runs'], ['POST', '/runs'], ['GET', '/runs/1'], ['GET', '/runs/1/output'], ['GET', '/runs/1/artefacts/x'], ['GET', '/runs/1/tests'],
    ['POST', '/runs/1/stop'], ['GET', '/tests'], ['PUT', '/tests'], ['PATCH', ''], ['DELETE', ''], ['POST', '/tokens/host/rotate'], ['DELETE', '/participants/p_x/name'],
  ]
  for (const role of ['guest', 'viewer']) {
    for (const [method, path] of calls) {
      const res = await api(room, role, path, { method, ...(method === 'GET' || method === 'DELETE' ? {} : { body: '{}' }) })
      const text = await res.text()
      assert.equal(res.status, 403, `${role} ${method} ${path}: ${res.status} ${text}`)
      assert.equal(res.headers.get('content-type'), 'application/problem+json')
      assert.match(JSON.parse(text).detail, /wait for the host/)
      assert.ok(!text.includes(SECRET))
    }
    // No document either: the handshake is refused, which every client tries again.
    const { ws } = raw(`/sync/${room.id}?token=${room.tokens[role]}`)
    const [, res] = await within(once(ws, 'unexpected-response'), 'a refusal')
    assert.equal(res.statusCode, 403)
  }
  for (const path of ['', '/files', '/bundle', '/history', '/runs/1/output']) {
    assert.equal((await api(room, 'host', path)).status, 200, path)
  }
})

test('a host sees who waits, starts the room, and all come in on the sockets that they have', async () => {
  const { room, host } = await prepared()
  assert.deepEqual(host.hello.waiting, [])
  assert.equal(host.hello.room.lobby, true)
  const guest = raw(`/live/${room.id}?token=${room.tokens.guest}&name=Gus`)
  await host.message('lobby.waiting', (m) => m.participants.length === 1)
  const viewer = raw(`/live/${room.id}?token=${room.tokens.viewer}&name=Vera`)
  const { participants } = await host.message('lobby.waiting', (m) => m.participants.length === 2)
  assert.deepEqual(participants.map((p) => [p.name, p.role]), [['Gus', 'guest'], ['Vera', 'viewer']])
  const gone = raw(`/live/${room.id}?token=${room.tokens.guest}&name=Gone`)
  await host.message('lobby.waiting', (m) => m.participants.length === 3)
  let from = host.messages.length
  gone.ws.close()
  await host.message('lobby.waiting', (m) => m.participants.length === 2, from)
  guest.ws.send(JSON.stringify({ type: 'participant.update', name: 'Gustav' }))
  await host.message('lobby.waiting', (m) => m.participants[0].name === 'Gustav')
  // A host who comes later is told as well.
  const second = await liveClient(server, room.id, room.tokens.host, { name: 'Hugo' })
  assert.equal(second.hello.waiting.length, 2)
  second.close()

  // A stock client tries on, and is in when it is started.
  const doc = syncClient(server, room.id, room.tokens.guest)
  await within(new Promise((resolve) => { doc.provider.once('connection-error', resolve) }), 'a refusal')
  assert.equal(doc.provider.synced, false)
  const hello = (client) => within(new Promise((resolve) => {
    client.ws.on('message', (data, binary) => { const msg = binary ? {} : JSON.parse(data); if (msg.type === 'hello') resolve(msg) })
  }), 'hello')
  const both = Promise.all([hello(guest), hello(viewer)])
  from = host.messages.length
  host.send({ type: 'room.update', lobby: false })
  const [g, v] = await both
  assert.deepEqual([g.you.name, g.you.role, g.waiting, g.room.lobby, g.chat.length], ['Gustav', 'guest', null, false, 1])
  assert.deepEqual([v.you.name, v.you.role, v.room.lobby], ['Vera', 'viewer', false])
  await host.message('room.updated', (m) => m.room.lobby === false, from)
  await host.message('participant.joined', (m) => m.participant.name === 'Vera', from)
  await doc.synced()
  await docUntil(doc.doc, () => doc.text.toString().includes(SECRET), 'the text')
  assert.equal((await api(room, 'guest', '/files')).status, 200)
  // Whoever came in may now do what their role may.
  guest.ws.send(JSON.stringify({ type: 'driver.request' }))
  await host.message('driver.requested', (m) => m.participant.id === g.you.id, from)

  // There is no way back: who was in has the document.
  const back = await api(room, 'host', '', { method: 'PATCH', body: JSON.stringify({ lobby: true }) })
  assert.equal(back.status, 409)
  assert.match((await back.json()).detail, /cannot be undone/)
  host.send({ type: 'room.update', lobby: true, ref: 'again' })
  assert.equal((await host.message('error', (m) => m.ref === 'again')).code, 'bad_request')
  doc.close()
  for (const client of [guest, viewer]) client.ws.close()
  host.close()
})

test('who comes in the moment in which it is started is not left outside', async () => {
  for (let round = 0; round < 10; round++) {
    const room = await makeRoom(server, { language: 'python', lobby: true })
    const coming = Array.from({ length: 5 }, (_, n) => raw(`/live/${room.id}?token=${room.tokens.guest}&name=G${n}`))
    const all = coming.map(({ ws }) => within(new Promise((resolve) => {
      ws.on('message', (data, binary) => { if (!binary && JSON.parse(data).type === 'hello') resolve() })
    }), 'hello'))
    if (round % 2 === 0) await once(coming[0].ws, 'open')
    const res = await api(room, 'host', '', { method: 'PATCH', body: JSON.stringify({ lobby: false }) })
    assert.equal(res.status, 200, await res.clone().text())
    await Promise.all(all)
    coming.forEach(({ ws }) => ws.close())
  }
})

test('the lobby is there after a crash, and a host can remove who waits', async () => {
  const { room, host } = await prepared()
  host.close()
  await server.restart()
  const again = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna' })
  assert.equal(again.hello.room.lobby, true)
  const guest = raw(`/live/${room.id}?token=${room.tokens.guest}&name=Gus`)
  const { participants } = await again.message('lobby.waiting', (m) => m.participants.length === 1)
  const closed = within(once(guest.ws, 'close'), 'the close')
  const from = again.messages.length
  again.send({ type: 'participant.remove', id: participants[0].id })
  assert.equal((await closed)[0], 4403)
  await again.message('lobby.waiting', (m) => m.participants.length === 0, from)
  const replaced = await again.message('token.rotated', (m) => m.role === 'guest')
  const next = raw(`/live/${room.id}?token=${replaced.token}&name=Gus`)
  await within(once(next.ws, 'message'), 'lobby')
  // An ended room ends for who waits as well.
  const ended = within(once(next.ws, 'close'), 'the close')
  again.send({ type: 'room.update', ended: true })
  assert.equal((await ended)[0], 4410)
})
