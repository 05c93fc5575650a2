// The server gives up root and keeps working; whichever of its processes is killed,
// nothing goes on running.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { homedir } from 'node:os'
import { test } from 'node:test'
import { liveClient, run, within } from './clients.mjs'
import { family, gone, launcherOf, status } from './processes.mjs'
import { makeRoom, startServer } from './server.mjs'

const root = process.getuid() === 0

/** The server still does what it is for. */
const runs = async (server) => assert.equal((await run(server, 'python', 'print("runs")')).stdout, 'runs\n')

/** Whether all of a server's processes but two are no root's. */
async function boxesHaveUids(server) {
  const processes = await family(server.pid)
  const launcher = launcherOf(processes)
  assert.equal(launcher.uid, 0)
  const uids = new Map()
  for (const p of processes.slice(1)) {
    if (p === launcher) continue
    if (p.name === 'corun-zygote') {
      assert.equal(p.caps, (1n << 6n) | (1n << 7n) | (1n << 12n) | (1n << 21n) | (1n << 27n)) // setgid, setuid, net_admin, sys_admin, mknod
      continue
    }
    if (p.uid === 0) return false
    uids.set(p.uid, (uids.get(p.uid) ?? new Set()).add(p.space))
  }
  // Upon gVisor a box has runsc's processes besides.
  if (process.env.CORUN_ISOLATION !== 'gvisor') for (const [uid, boxes] of uids) assert.equal(boxes.size, 1, `uid ${uid} is used in ${boxes.size} boxes`)
  return uids.size > 1
}

test('the server has no privilege left', { skip: !root && 'needs root' }, async () => {
  // A data directory that only root can get to.
  const dir = await mkdtemp(join(homedir(), 'corun-e2e-'))
  const server = await startServer({ dataDir: join(dir, 'data') })
  try {
    const s = await status(server.pid)
    for (const id of [...s.Uid.split('\t'), ...s.Gid.split('\t')]) assert.notEqual(id, '0')
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(s[set], /^0+$/, set)
    assert.equal(s.NoNewPrivs, '1')
    assert.equal(s.Groups.trim(), '')
    // Every thread, not only the first.
    for (const task of await readdir(`/proc/${server.pid}/task`)) {
      const t = await readFile(`/proc/${server.pid}/task/${task}/status`, 'utf8')
      assert.match(t, /^CapEff:\s*0+$/m)
      assert.doesNotMatch(t, /^Uid:.*\t0(\t|$)/m)
    }
    // Every box has a uid of its own: those that wait with a runtime, and what is
    // prepared when one ends. A process has its maker's until it has been given one.
    await runs(server)
    await within((async () => {
      while (!(await boxesHaveUids(server))) await new Promise((resolve) => setTimeout(resolve, 20))
    })(), 'uids of all boxes')
  } finally {
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  }
})

test('kill -9 of the server leaves nothing running', { skip: !root && 'needs root' }, async () => {
  const server = await startServer()
  try {
    const before = await family(server.pid)
    assert.ok(before.length > 1)
    await server.kill()
    await gone(before)
    await server.start()
    await runs(server)
  } finally {
    await server.stop()
  }
})

test('kill -9 of the launcher ends the server and all boxes', { skip: !root && 'needs root' }, async () => {
  const server = await startServer()
  try {
    const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'print("up")\nwhile True: pass\n' }] })
    const client = await liveClient(server, room.id, room.tokens.host)
    client.send({ type: 'run.start' })
    await client.outputUntil(1, (text) => text.includes('up'))
    const before = await family(server.pid)
    process.kill(launcherOf(before).pid, 'SIGKILL')
    await gone(before)
    assert.equal((await client.message('run.exited')).run.status, 'lost')
    assert.match(server.log, /the launcher has ended/)
    assert.doesNotMatch(server.log, /has not ended after its kill/) // but at once
    await server.start()
    await runs(server)
  } finally {
    await server.stop()
  }
})
