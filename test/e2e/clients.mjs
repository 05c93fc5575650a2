// Stock clients for tests: a y-websocket provider and a /live socket, each with
// ways to wait for what a test is about instead of for time.
import { StringDecoder } from 'node:string_decoder'
import WebSocket from 'ws'
import { readAuthMessage } from 'y-protocols/auth'
import { WebsocketProvider } from 'y-websocket'
import { WebsocketProvider as WebsocketProvider1 } from 'y-websocket-1'
import { WebsocketProvider as WebsocketProvider2 } from 'y-websocket-2'
import * as Y from 'yjs'
import { makeRoom } from './server.mjs'

/** Fails a wait that takes longer than any healthy run would. */
export function within(promise, what, ms = 60_000) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${typeof what === 'function' ? what() : what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Resolves when check() is true, looked at whenever one of the documents changes. */
export function docUntil(docs, check, what) {
  const all = [docs].flat()
  return within(new Promise((resolve) => {
    const look = () => {
      if (!check()) return
      all.forEach((doc) => doc.off('update', look))
      resolve()
    }
    all.forEach((doc) => doc.on('update', look))
    look()
  }), what)
}

export { Y }

process.setMaxListeners(0) // each stock provider waits for the exit

/** Stock providers by major version. */
export const providers = { 1: WebsocketProvider1, 2: WebsocketProvider2, 3: WebsocketProvider }

// State vectors alone know nothing of deletions.
export const sameState = (a, b) => Y.equalSnapshots(Y.snapshot(a), Y.snapshot(b))

/**
 * A document's encoded state as a document has it that got all at once and collects
 * what is deleted: how items are cut, and what a client keeps that does not collect, is
 * each replica's own affair.
 */
export function stateOf(doc) {
  let state = Y.encodeStateAsUpdate(doc)
  for (let i = 0; i < 2; i++) {
    const copy = new Y.Doc()
    Y.applyUpdate(copy, state)
    state = Y.encodeStateAsUpdate(copy)
    copy.destroy()
  }
  return Buffer.from(state).toString('base64')
}

/** A stock provider, unchanged but for Node's missing WebSocket. */
export function syncClient(server, room, token, options = {}) {
  const doc = options.doc ?? new Y.Doc({ gc: options.gc ?? true })
  const Provider = providers[options.version ?? 3]
  const provider = new Provider(`${server.ws}/sync`, room, doc, {
    params: { ...(token ? { token } : {}), ...(options.session ? { session: options.session } : {}) },
    WebSocketPolyfill: WebSocket,
    disableBc: true,
    maxBackoffTime: 200,
    ...options,
  })
  const refusals = [] // what auth messages said
  provider.messageHandlers[2] = (_e, decoder) => { readAuthMessage(decoder, provider, (_p, reason) => refusals.push(reason)); provider.emit('refused', []) }
  const closes = [] // codes; null where the client closed
  provider.on('connection-close', (event) => closes.push(event && event.code))
  return {
    doc,
    provider,
    refusals,
    closes,
    refused: () => within(new Promise((resolve) => {
      if (refusals.length > 0) return resolve(refusals)
      provider.on('refused', () => resolve(refusals))
    }), 'a refusal'),
    /** Resolves once check() is true, looked at whenever awareness changes. */
    aware: (check, what) => within(new Promise((resolve) => {
      const look = () => {
        if (!check(provider.awareness.getStates())) return
        provider.awareness.off('change', look)
        resolve()
      }
      provider.awareness.on('change', look)
      look()
    }), what),
    text: doc.getText(options.root ?? 'file/main'),
    synced: () => within(new Promise((resolve) => {
      if (provider.synced) return resolve()
      provider.on('sync', (ok) => ok && resolve())
    }), 'sync'),
    close: () => { provider.destroy(); doc.destroy() },
  }
}

/** A /live socket that keeps what it got and lets a test wait for more. */
export async function liveClient(server, room, token, { name = 'Tester', hue = 120, resume, session } = {}) {
  const params = new URLSearchParams({ token, name, hue: String(hue) })
  if (resume) params.set('resume', resume)
  if (session) params.set('session', session)
  const ws = new WebSocket(`${server.ws}/live/${room}?${params}`)
  const messages = []
  const frames = []
  const texts = new Map() // `${run}.${stream}` → {text, decoder, length, wrong}
  const waiters = new Set()
  // Waiters look once for all that came together: a program that prints line
  // by line gives thousands of frames, and each look reads the whole text.
  let waking = false
  const wake = () => {
    if (waking) return
    waking = true
    setImmediate(() => { waking = false; for (const w of [...waiters]) w() })
  }
  let closed = null
  ws.on('message', (data, binary) => {
    if (binary) {
      const frame = {
        stream: data.readUInt8(0),
        run: data.readUInt32BE(1),
        offset: Number(data.readBigUInt64BE(5)),
        data: data.subarray(13),
      }
      frames.push(frame)
      const key = `${frame.run}.${frame.stream}`
      if (!texts.has(key)) texts.set(key, { text: '', decoder: new StringDecoder(), length: 0 })
      const so = texts.get(key)
      if (frame.offset !== so.length) so.wrong ??= `a frame at offset ${frame.offset} follows ${so.length} bytes`
      so.text += so.decoder.write(frame.data)
      so.length += frame.data.length
    } else {
      messages.push(JSON.parse(data.toString()))
    }
    wake()
  })
  ws.on('close', (code, reason) => { closed = { code, reason: reason.toString() }; wake() })
  ws.on('error', () => {})
  const until = (check, what) => within(new Promise((resolve, reject) => {
    const look = () => {
      let got
      try { got = check() } catch (wrong) { waiters.delete(look); return reject(wrong) }
      if (got) { waiters.delete(look); resolve(got) } else if (closed) { waiters.delete(look); reject(new Error(`closed ${closed.code} ${closed.reason} while waiting for ${typeof what === 'function' ? what() : what}`)) }
    }
    waiters.add(look)
    look()
  }), what)
  const client = {
    ws,
    messages,
    frames,
    get closed() { return closed },
    /** The first message of a type that fits, from the from-th on. */
    message: (type, fits = () => true, from = 0) => until(
      () => messages.slice(from).find((m) => m.type === type && fits(m)), `a ${type} message`),
    /** All output of a stream of a run so far, checked to be without gap or repeat. */
    output(run, stream = 3) {
      const so = texts.get(`${run}.${stream}`)
      if (so?.wrong) throw new Error(so.wrong)
      return so?.text ?? ''
    },
    outputUntil: (run, check, stream = 3) => until(
      () => check(client.output(run, stream)), () => `output; there is ${JSON.stringify(client.output(run, stream).slice(-300))}`),
    gone: () => within(new Promise((resolve) => {
      if (closed) return resolve(closed)
      ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    }), 'the close'),
    send: (msg) => ws.send(JSON.stringify(msg)),
    type(run, text) {
      const head = Buffer.alloc(5)
      head.writeUInt32BE(run, 1)
      ws.send(Buffer.concat([head, Buffer.from(text)]))
    },
    close: () => ws.close(),
  }
  client.hello = await client.message('hello')
  client.me = client.hello.you
  return client
}

/** Runs a program in a room of its own and gives the finished run with what it printed. */
export async function run(server, language, source, { while: meanwhile } = {}) {
  const room = await makeRoom(server, { language, files: [{ path: language === 'python' ? 'main.py' : 'main.js', content: source }] })
  const client = await liveClient(server, room.id, room.tokens.host)
  try {
    client.send({ type: 'run.start', mode: 'pipes' })
    if (meanwhile) {
      await client.outputUntil(1, (text) => text.includes('\n'), 1)
      await meanwhile()
      client.send({ type: 'stdin.eof', run: 1 })
    }
    const { run } = await client.message('run.exited')
    return { run, stdout: client.output(1, 1), stderr: client.output(1, 2) }
  } finally { client.close() }
}
