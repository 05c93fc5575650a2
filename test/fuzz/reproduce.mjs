// From a disagreement to something small that shows it: fewer actions of the
// history, and then fewer of the updates that the engine got.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  applied, base64, compareCall, comparePending, compareRoots, compareState, compareStateVector, compareTree, compareXML, Disagreement,
  editAgain, encoded, expectCall, History, length, reader, show, takeEdit, unstick, YjsFailure,
} from './history.mjs'
import { readEdit } from './ops.mjs'
import { PeerFailure } from './peer.mjs'

/** Runs something and gives what the disagreement was, or null; what Yjs fails on is none. */
export async function disagreementOf(peer, run) {
  try {
    await run()
    return null
  } catch (err) {
    peer.reset()
    if (err instanceof Disagreement) return err
    if (err instanceof PeerFailure) return new Disagreement('the engine died or hung', { engine: err.message })
    if (err instanceof YjsFailure) return null
    throw err
  }
}

/** Leaves out of a list what it still fails without. */
async function shrink(list, fails, seconds) {
  const end = Date.now() + seconds * 1000
  for (let size = Math.ceil(list.length / 2); size >= 1 && list.length > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = list.length - size; at > -size; at -= size) {
      if (Date.now() > end) return list
      const from = Math.max(at, 0)
      const fewer = [...list.slice(0, from), ...list.slice(at + size)]
      if (fewer.length < list.length && await fails(fewer)) list = fewer
    }
  }
  return list
}

/** Tells whether two disagreements are likely to be one: which encoding shows it does not matter. */
const category = (what) => what.replace(/ v[12].*/, '')
const same = (found, what) => found !== null && category(found.what) === category(what)

/** Makes a disagreement small and writes it to a file; gives the file's name. */
export async function report(peer, seed, number, what, dir) {
  const run = async (actions, log) => {
    const history = new History(peer, seed, number, log)
    return [history, await disagreementOf(peer, () => history.run(actions))]
  }
  let actions = Array.from({ length: length(seed, number) }, (_, i) => i)
  actions = await shrink(actions, async (fewer) => same((await run(fewer))[1], what), 30)
  const log = []
  const [history, found] = await run(actions, (line) => log.push(line))
  const stream = { gc: history.gc, clientID: history.firstEngineID, steps: history.steps, call: found?.detail.call && { name: found.detail.call, args: found.detail.args.map((a) => Buffer.from(a, 'base64')) } }
  // Looking may be what makes the difference, so there are two ways to try.
  let shown = false
  for (stream.atEnd of [false, true]) {
    shown = same(await replayStream(peer, stream), what)
    if (shown) break
  }
  if (shown) {
    stream.steps = await shrink(stream.steps, async (steps) => same(await replayStream(peer, { ...stream, steps }), what), 30)
  }
  const end = shown ? await replayStream(peer, stream) : found
  const file = {
    what, seed, history: number, actions, gc: stream.gc, clientID: stream.clientID,
    steps: stream.steps.map(writeStep),
    stepsShowIt: shown,
    atEnd: stream.atEnd,
    ...end?.detail,
    args: undefined, // they are in call
    call: stream.call && { name: stream.call.name, args: stream.call.args.map(base64) },
    log,
  }
  mkdirSync(dir, { recursive: true })
  const name = join(dir, `${seed}-${number}.json`)
  writeFileSync(name, JSON.stringify(file, null, 1) + '\n')
  return { name, file }
}

function writeStep(step) {
  if (step.edit === undefined) return Object.fromEntries(Object.entries(step).map(([k, v]) => [k, typeof v === 'number' ? v : base64(v)]))
  const { list, fail } = readEdit(step.edit)
  return { edit: base64(step.edit), ops: list.map(show), fail: fail || undefined }
}

function readStep(step) {
  if (step.reload !== undefined) return step
  const binary = ['v1', 'v2', 'edit', 'sv']
  return Object.fromEntries(Object.entries(step).map(([k, v]) => [k, binary.includes(k) ? Buffer.from(v, 'base64') : v]))
}

/** Gives the engine a stream of updates and edits, and compares it with a mirror after each, or at the end. */
function replayStream(peer, { gc, clientID, steps, atEnd, call }) {
  return disagreementOf(peer, async () => {
    let mirror = reader(gc)
    const ok = (what) => (status, answer) => {
      if (status !== 'ok') throw new Disagreement(`${what}: ${status}`, { engine: answer.toString() })
    }
    const encode = (version, sv) => peer.encode(version, sv, compare('encode', (_, bytes) => compareState(mirror, version, sv, bytes)))
    const compare = (what, f) => (status, answer) => {
      ok(what)(status, answer)
      f(mirror, answer)
    }
    peer.create(clientID, gc, ok('create'))
    if (call !== undefined) {
      const want = expectCall(call.name, call.args)
      peer.call(call.name, call.args, (status, answer) => compareCall(call.name, call.args, status, answer, want))
      await peer.flush()
      return
    }
    for (const step of steps) {
      if (step.edit !== undefined) {
        const { list, fail } = readEdit(step.edit)
        peer.edit((w) => { w.buf.set(step.edit, w.need(step.edit.length)) }, (status, update) => {
          if (status !== 'nothing') ok('edit')(status, update)
          if (status === 'ok' && fail) throw new Disagreement('a failed edit changed something')
          unstick(mirror)
          if (!fail) editAgain(mirror, clientID, gc, list, status === 'ok' ? update : null)
          if (status === 'ok') takeEdit(mirror, update)
        })
      } else if (step.encode !== undefined) {
        encode(step.encode, step.sv ?? null)
      } else if (step.reload !== undefined) {
        clientID = step.clientID
        peer.reload(step.reload, clientID, (status, answer) => {
          ok('reload')(status, answer)
          mirror = reader(gc, step.reload, encoded(mirror, step.reload))
        })
      } else {
        const version = step.v2 === undefined ? 1 : 2
        const update = step[`v${version}`]
        peer.apply(version, update, (status, answer) => {
          try {
            applied(mirror, version, update)
          } catch (err) {
            throw new YjsFailure(err.message)
          }
          ok('apply')(status, answer)
        })
      }
      if (!atEnd) await compareAll()
    }
    await compareAll()
    async function compareAll() {
      peer.pending(compare('pending', comparePending))
      peer.stateVector(compare('state vector', compareStateVector))
      peer.tree(compare('tree', compareTree))
      peer.roots(compare('roots', compareRoots))
      peer.xml(compare('xml', compareXML))
      encode(1, null)
      encode(2, null)
      await peer.flush()
    }
  })
}

/** Replays a file: its steps, and the history that they were of. */
export async function replay(peer, name) {
  const file = JSON.parse(readFileSync(name, 'utf8'))
  const call = file.call && { name: file.call.name, args: file.call.args.map((a) => Buffer.from(a, 'base64')) }
  const byStream = await replayStream(peer, { gc: file.gc, clientID: file.clientID, steps: file.steps.map(readStep), atEnd: file.atEnd, call })
  if (byStream !== null) return byStream
  return disagreementOf(peer, () => new History(peer, file.seed, file.history).run(file.actions))
}
