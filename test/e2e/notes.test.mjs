// The private notes of a room's hosts, with stock clients: hosts share them, nobody else
// gets them by any way, and they are kept like any document.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import WebSocket from 'ws'
import { docUntil, liveClient, syncClient, within } from './clients.mjs'
import { binary, makeRoom, startServer } from './server.mjs'

let server
before(async () => { server = await startServer({ args: ['--open-rooms'] }) })
after(() => server?.stop())

const SECRET = 'strong candidate, ask about locks'
const notesOf = (room, token) => syncClient(server, `${room.id}/notes`, token, { root: 'notes' })
const api = (room, role, path, options = {}) => fetch(`${server.url}/api/v1/rooms/${room.id}${path}`, {
  ...options, headers: { Authorization: `Bearer ${room.tokens[role]}`, 'Content-Type': 'application/json' },
})

/** Opens a socket that is refused, and gives the status of that. */
async function refusal(path) {
  const ws = new WebSocket(`${server.ws}${path}`)
  ws.on('error', () => {})
  const opened = once(ws, 'open').then(() => { throw new Error(`${path} opened`) })
  opened.catch(() => {})
  const [, res] = await within(Promise.race([once(ws, 'unexpected-response'), opened]), 'a refusal')
  return res.statusCode
}

/** A room in which a host has written notes that are seen by another host, and so saved. */
async function written() {
  const room = await makeRoom(server)
  const one = notesOf(room, room.tokens.host)
  const two = notesOf(room, room.tokens.host)
  await Promise.all([one.synced(), two.synced()])
  one.text.insert(0, SECRET)
  await docUntil(two.doc, () => two.text.toString() === SECRET, 'the notes at the other host')
  return { room, one, two }
}

test('guests, viewers, strangers and open rooms get no notes', async () => {
  const { room, one, two } = await written()
  for (const role of ['guest', 'viewer']) assert.equal(await refusal(`/sync/${room.id}/notes?token=${room.tokens[role]}`), 403, role)
  assert.equal(await refusal(`/sync/${room.id}/notes?token=wrong`), 404)
  assert.equal(await refusal(`/sync/${room.id}/notes`), 404, 'without a token it is no open room')
  assert.equal(await refusal('/sync/anybodys/notes'), 403, 'an open room has no hosts')
  // Nor by the name under which they are stored, as a room of their own.
  for (const role of ['host', 'guest']) {
    const name = encodeURIComponent(`${room.id}/notes`)
    for (const path of ['sync', 'live']) assert.equal(await refusal(`/${path}/${name}?token=${room.tokens[role]}`), 404, path)
    assert.equal((await fetch(`${server.url}/api/v1/rooms/${name}/files`, { headers: { Authorization: `Bearer ${room.tokens[role]}` } })).status, 404)
  }
  assert.notEqual(await refusal(`/sync/${encodeURIComponent(`${room.id}/notes`)}`), 101)

  assert.equal((await (await api(room, 'host', '/notes')).json()).text, SECRET)
  for (const role of ['guest', 'viewer']) {
    assert.equal((await api(room, role, '/notes')).status, 403)
    for (const path of ['', '/files', '/history', '/history?format=jsonl', '/playback', '/runs', '/tests']) {
      const res = await api(room, role, path)
      assert.equal(res.status, 200, path)
      assert.ok(!(await res.text()).includes(SECRET), `${path} has the notes`)
    }
    const doc = syncClient(server, room.id, room.tokens[role])
    await doc.synced()
    assert.equal(doc.doc.getText('notes').toString(), '')
    doc.close()
  }
  one.close()
  two.close()
})

test('notes that a host has seen survive kill -9, and are in a backup; they are no room of their own', async () => {
  const { room, one, two } = await written()
  one.close()
  two.close()
  await server.restart()
  const again = notesOf(room, room.tokens.host)
  await again.synced()
  assert.equal(again.text.toString(), SECRET)
  again.close()
  const run = promisify(execFile)
  const { stdout } = await run(binary, ['room', 'list', '--data-dir', server.dataDir])
  assert.ok(stdout.includes(room.id) && !stdout.includes(`${room.id}/notes`), stdout)
  const copy = join(server.dataDir, 'copy.db')
  await run(binary, ['backup', '--data-dir', server.dataDir, copy])
  assert.ok((await readFile(copy)).includes(SECRET), 'the backup lacks the notes')
})

test('who is host no longer is out of the notes; they end and go with their room', async () => {
  const { room, one, two } = await written()
  const { token } = await (await api(room, 'host', '/tokens/host/rotate', { method: 'POST', body: '{}' })).json()
  await within(new Promise((resolve) => {
    const look = () => (one.closes.includes(4403) ? resolve() : one.provider.once('connection-close', look))
    look()
  }), 'the close')
  assert.equal(await refusal(`/sync/${room.id}/notes?token=${room.tokens.host}`), 404)
  room.tokens.host = token
  one.close()
  two.close()

  const third = notesOf(room, token)
  await third.synced()
  assert.equal(third.text.toString(), SECRET)
  // Locked rooms lock the code; a host writes on.
  const host = await liveClient(server, room.id, token)
  host.send({ type: 'room.update', locked: true })
  await host.message('room.updated', (m) => m.room.locked)
  third.text.insert(0, 'Still: ')
  const fourth = notesOf(room, token)
  await docUntil(fourth.doc, () => fourth.text.toString().startsWith('Still: '), 'an edit while locked')
  fourth.close()
  const closed = within(new Promise((resolve) => {
    const look = () => (third.closes.includes(4410) ? resolve() : third.provider.once('connection-close', look))
    look()
  }), 'the end')
  host.send({ type: 'room.update', ended: true })
  await closed
  // What was written can be read when all is over.
  assert.equal((await (await api(room, 'host', '/notes')).json()).text, `Still: ${SECRET}`)
  third.close()
  assert.equal((await api(room, 'host', '', { method: 'DELETE' })).status, 204)
  assert.equal((await api(room, 'host', '/notes')).status, 404)

  const { room: next, one: open, two: other } = await written()
  open.provider.shouldConnect = false
  const gone = within(new Promise((resolve) => open.provider.once('connection-close', (event) => resolve(event.code))), 'the close')
  assert.equal((await api(next, 'host', '', { method: 'DELETE' })).status, 204)
  assert.equal(await gone, 4410)
  open.close()
  other.close()
  const copy = join(server.dataDir, 'after.db')
  await promisify(execFile)(binary, ['backup', '--data-dir', server.dataDir, copy])
  assert.ok(!(await readFile(copy)).includes(`${next.id}/notes`), 'a deleted room left its notes')
})
