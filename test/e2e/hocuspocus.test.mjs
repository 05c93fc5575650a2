// Hocuspocus' stock providers, of every version that is about, beside stock ones of y-websocket.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import * as provider4 from '@hocuspocus/provider'
import * as provider2 from 'hocuspocus-provider-2'
import * as provider3 from 'hocuspocus-provider-3'
import WebSocket from 'ws'
import { docUntil, sameState, syncClient, within, Y } from './clients.mjs'
import { makeRoom, startServer } from './server.mjs'

const versions = { 2: provider2, 3: provider3, 4: provider4 }
globalThis.WebSocket ??= WebSocket // which version 2 takes from the browser alone

let server
before(async () => { server = await startServer({ args: ['--open-rooms'] }) })
after(async () => { await server?.stop() })

/** A stock provider, unchanged but for Node's missing WebSocket. */
function client(version, name, { on = server, token = '', socket, ...options } = {}) {
  const { HocuspocusProvider } = versions[version]
  const doc = new Y.Doc()
  const c = { doc, said: [], failed: [], scopes: [] }
  c.provider = new HocuspocusProvider({
    ...(socket ? { websocketProvider: socket } : { url: `${on.ws}/hocuspocus`, WebSocketPolyfill: WebSocket, delay: 100, minDelay: 100, maxDelay: 200 }),
    name,
    document: doc,
    token,
    onAuthenticationFailed: ({ reason }) => c.failed.push(reason),
    onAuthenticated: (data) => c.scopes.push(data?.scope ?? c.provider.authorizedScope),
    ...options,
  })
  if (socket) c.provider.attach?.()
  c.until = (event, check) => within(new Promise((resolve) => {
    const look = () => { if (check()) { c.provider.off(event, look); resolve() } }
    c.provider.on(event, look)
    look()
  }), event)
  c.synced = () => c.until('synced', () => c.provider.isSynced || c.provider.synced)
  c.saved = () => c.until('unsyncedChanges', () => !c.provider.hasUnsyncedChanges)
  c.close = () => c.provider.destroy()
  return c
}

for (const version of Object.keys(versions)) {
  test(`provider ${version}: edits, cursors and what is saved, also through a crash`, async () => {
    const own = await startServer({ args: ['--open-rooms'] })
    const all = []
    try {
      const room = `hocuspocus.${version}`
      const a = client(version, room, { on: own })
      const b = client(version, room, { on: own })
      const stock = syncClient(own, room)
      all.push(a, b, stock)
      await Promise.all([a.synced(), b.synced(), stock.synced()])
      a.doc.getText('text').insert(0, 'from a; ')
      b.doc.getText('text').insert(0, 'from b; ')
      stock.doc.getText('text').insert(0, 'from stock; ')
      const docs = [a.doc, b.doc, stock.doc]
      await docUntil(docs, () => docs.every((doc) => doc.getText('text').length === 28), 'all edits everywhere')
      assert.ok(docs.every((doc) => sameState(doc, a.doc)))

      a.provider.setAwarenessField('user', { name: 'Ann' })
      stock.provider.awareness.setLocalStateField('user', { name: 'Stock' })
      const names = (awareness) => [...awareness.getStates().values()].map((s) => s.user?.name).filter(Boolean).sort().join()
      for (const awareness of [a.provider.awareness, b.provider.awareness, stock.provider.awareness]) {
        await within(new Promise((resolve) => {
          const look = () => { if (names(awareness) === 'Ann,Stock') { awareness.off('change', look); resolve() } }
          awareness.on('change', look)
          look()
        }), () => `cursors: ${names(awareness)}`)
      }

      for (let i = 0; i < 50; i++) a.doc.getText('text').insert(0, 'x')
      assert.ok(a.provider.hasUnsyncedChanges, 'edits count as saved before they can be')
      await a.saved()
      b.close()
      stock.close()
      await own.kill()
      await own.restart()
      const late = client(version, room, { on: own })
      all.push(late)
      await late.synced()
      await docUntil(late.doc, () => late.doc.getText('text').length === 78, 'what was said to be saved')
      a.doc.getText('text').insert(0, '!') // a has come back by itself
      await docUntil(late.doc, () => late.doc.getText('text').toString().startsWith('!'), 'an edit after the crash')
    } finally {
      all.forEach((c) => c.close())
      await own.stop()
    }
  })

  test(`provider ${version}: tokens and roles`, async () => {
    const { id, tokens } = await makeRoom(server, { language: 'python' })
    const all = []
    const enter = (token) => { const c = client(version, id, { token }); all.push(c); return c }
    try {
      const guest = enter(tokens.guest)
      const viewer = enter(tokens.viewer)
      await Promise.all([guest.synced(), viewer.synced()])
      guest.doc.getText('file/main').insert(0, 'seen')
      await docUntil(viewer.doc, () => viewer.doc.getText('file/main').toString().startsWith('seen'), 'the guest\'s edit')
      if (version > 2) assert.deepEqual([guest.scopes[0], viewer.scopes[0]], ['read-write', 'readonly'])
      await viewer.saved() // it is in step
      viewer.doc.getText('file/main').insert(0, 'no ')
      guest.doc.getText('file/main').insert(0, 'and ')
      await docUntil(viewer.doc, () => viewer.doc.getText('file/main').toString().includes('and '), 'the guest\'s next edit')
      await guest.saved()
      assert.ok(viewer.provider.hasUnsyncedChanges, 'a viewer\'s edit counts as saved')
      assert.doesNotMatch(guest.doc.getText('file/main').toString(), /no /)

      const wrong = enter('wrong')
      await wrong.until('authenticationFailed', () => wrong.failed.length > 0)
      assert.match(wrong.failed[0], /no such room, or the token/)
      const none = enter('')
      await none.until('authenticationFailed', () => none.failed.length > 0)
      assert.match(none.failed[0], /token/)
      assert.equal(none.doc.getText('file/main').length + wrong.doc.getText('file/main').length, 0)
    } finally { all.forEach((c) => c.close()) }
  })
}

test('several documents on one socket', async () => {
  const { HocuspocusProviderWebsocket } = versions[4]
  const socket = new HocuspocusProviderWebsocket({ url: `${server.ws}/hocuspocus`, WebSocketPolyfill: WebSocket })
  const { id, tokens } = await makeRoom(server, { language: 'python' })
  const clients = [client(4, 'several.1', { socket }), client(4, 'several.2', { socket }), client(4, id, { socket, token: tokens.guest }), client(4, 'several.1', { socket, sessionAwareness: true })]
  const refused = client(4, id.replace(/.$/, '!'), { socket, token: tokens.guest })
  const outside = syncClient(server, 'several.1')
  try {
    await Promise.all([...clients, outside].map((c) => c.synced()))
    clients.forEach((c, i) => c.doc.getText('text').insert(0, `${i}`))
    await Promise.all(clients.map((c) => c.saved()))
    await docUntil(outside.doc, () => outside.doc.getText('text').length === 2, 'both editors of a document')
    assert.deepEqual(clients.map((c) => c.doc.getText('text').toString().split('').sort().join('')), ['03', '1', '2', '03'])
    await refused.until('authenticationFailed', () => refused.failed.length > 0)
    // One leaves; the others go on.
    const left = clients[0].doc
    clients[0].close()
    outside.doc.getText('text').insert(0, 'later')
    await docUntil(clients[3].doc, () => clients[3].doc.getText('text').toString().includes('later'), 'who stays')
    assert.ok(!left.getText('text').toString().includes('later'))
    clients[1].doc.getText('text').insert(0, 'on ')
    await clients[1].saved()
  } finally {
    [...clients.slice(1), refused, outside].forEach((c) => c.close())
    socket.destroy()
  }
})
