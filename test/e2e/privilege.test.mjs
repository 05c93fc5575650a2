// The server gives up root and keeps working; whichever of its processes is killed,
// nothing goes on running.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { homedir } from 'node:os'
import { test } from 'node:test'
import { startServer } from './server.mjs'

const root = process.getuid() === 0

/** The processes of a server: its own children, and theirs. */
async function below(pid) {
  const found = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    if (parent === pid) found.push(Number(entry), ...(await below(Number(entry))))
  }
  return found
}

async function status(pid) {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  return Object.fromEntries(text.trim().split('\n').map((line) => line.split(/:\s*/, 2)))
}

async function runs(server) {
  const made = await fetch(`${server.url}/api/v1/rooms`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ language: 'python' }),
  })
  assert.equal(made.status, 201)
}

/** Waits until none of the processes is there any more. */
async function gone(pids) {
  for (const deadline = Date.now() + 20_000; ;) {
    const left = []
    for (const pid of pids) {
      const s = await status(pid).catch(() => null)
      if (s && !s.State.startsWith('Z')) left.push(`${pid} ${s.Name}`)
    }
    if (left.length === 0) return
    assert.ok(Date.now() < deadline, `still there: ${left}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
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
    const children = await below(server.pid)
    const launcher = []
    for (const pid of children) if ((await status(pid)).Name === 'corun-launcher' || (await readFile(`/proc/${pid}/cmdline`, 'utf8')).startsWith('corun-launcher')) launcher.push(pid)
    assert.equal(launcher.length, 1)
    assert.match((await status(launcher[0])).Uid, /^0\t/)
    // Every box has a uid of its own.
    const uids = new Map()
    for (const pid of children) {
      if (launcher.includes(pid)) continue
      const s = await status(pid)
      const uid = s.Uid.split('\t')[0]
      if (s.Name === 'corun-zygote') {
        assert.equal(BigInt('0x' + s.CapEff), (1n << 6n) | (1n << 7n) | (1n << 12n) | (1n << 21n) | (1n << 27n)) // setgid, setuid, net_admin, sys_admin, mknod
        continue
      }
      assert.notEqual(uid, '0')
      uids.set(uid, (uids.get(uid) ?? 0) + 1)
    }
    // Upon gVisor a box has runsc's processes besides.
    if (process.env.CORUN_ISOLATION !== 'gvisor') for (const [uid, n] of uids) assert.equal(n, 1, `uid ${uid} is used ${n} times`)
    await runs(server)
  } finally {
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  }
})

test('kill -9 of the server leaves nothing running', { skip: !root && 'needs root' }, async () => {
  const server = await startServer()
  try {
    const before = await below(server.pid)
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
    const before = await below(server.pid)
    let launcher
    for (const pid of before) if ((await readFile(`/proc/${pid}/cmdline`, 'utf8')).startsWith('corun-launcher')) launcher = pid
    process.kill(launcher, 'SIGKILL')
    await gone([...before, server.pid])
    assert.match(server.log, /the launcher has ended/)
    await server.start()
    await runs(server)
  } finally {
    await server.stop()
  }
})
