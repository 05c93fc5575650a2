// The server without root, as a user that has nothing: no cgroup, and uids of its own
// only where a test gives it some.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chown, mkdir, mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { liveClient, run } from './clients.mjs'
import { family, gone, launcherOf, status } from './processes.mjs'
import { makeRoom, startServer } from './server.mjs'

const uid = 64_123 // nobody's
const repo = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const binary = process.env.CORUN_BIN ?? join(repo, 'bin', 'corun')
const images = process.env.CORUN_IMAGE_DIR ?? join(repo, '.test', 'images')
const isRoot = process.getuid() === 0

// A place that the user can reach, with the binary and the image that root has made.
const place = await mkdtemp(join(tmpdir(), 'corun-rootless-'))
await chown(place, uid, uid)
after(() => rm(place, { recursive: true, force: true }))
for (const part of ['names', 'sha256']) await mkdir(join(place, 'images', part), { recursive: true })
await chown(join(place, 'images'), uid, uid)
for (const name of ['corun', 'nobody']) await writeFile(join(place, name), '')
await writeFile(join(place, 'somebody'), 'corun-e2e:1500000000:65536\n')
await writeFile(join(place, 'passwd'), `${await readFile('/etc/passwd', 'utf8')}corun-e2e:x:${uid}:${uid}::/:/bin/false\n`) // newuidmap wants a name

/** A command that executes the binary as the user, in a mount namespace of its own. */
function asUser(ids = 'nobody') {
  const script = `
    mount --bind '${binary}' '${place}/corun' && mount --bind '${images}/names' '${place}/images/names' &&
    mount --bind '${images}/sha256' '${place}/images/sha256' &&
    mount --bind '${place}/passwd' /etc/passwd &&
    { [ ! -e /etc/subuid ] || mount --bind '${place}/${ids}' /etc/subuid; } &&
    { [ ! -e /etc/subgid ] || mount --bind '${place}/${ids}' /etc/subgid; } &&
    exec setpriv --reuid ${uid} --regid ${uid} --clear-groups --inh-caps=-all -- '${place}/corun' "$@" --image-dir '${place}/images'`
  return ['unshare', '--mount', '--propagation', 'private', 'bash', '-c', script, 'bash']
}

function tool(...args) {
  const [command, ...before] = asUser()
  return new Promise((resolve) => {
    const child = execFile(command, [...before, ...args, '--data-dir', join(place, 'data')], { env: { PATH: process.env.PATH } },
      (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }))
  })
}

// What keeps all of this from being tried: said by doctor, which looks for it.
const found = isRoot ? await tool('doctor') : null
const off = found?.stdout.split('\n').find((line) => line.startsWith('FAIL  namespaces'))
const skip = !isRoot ? 'needs root, to become a user that has nothing' : off ?? false

async function start(ids, args = []) {
  const dataDir = await mkdtemp(join(place, 'data-'))
  await chown(dataDir, uid, uid)
  return startServer({ dataDir, as: asUser(ids), args: ['--rootless-without-limits', ...args], env: { XDG_RUNTIME_DIR: '' } })
}

test('without a delegated cgroup nothing is served, and it is said what is missing', { skip }, async () => {
  assert.equal(found.code, 1)
  assert.match(found.stdout, /^FAIL {2}cgroup .*no cgroup|^FAIL {2}cgroup .*cgroup version/m)
  for (const words of [/\[Service\]\n.*\n?\s*Delegate=yes/, /systemd-run --user/, /--rootless-without-limits/]) assert.match(found.stdout, words)
  const refused = await tool('serve', '--addr', '127.0.0.1:0', '--admin-addr', '127.0.0.1:0')
  assert.equal(refused.code, 1)
  for (const words of [/^cgroup: /m, /Delegate=yes/, /--rootless-without-limits/]) assert.match(refused.stderr, words)
  const knowing = await tool('doctor', '--rootless-without-limits')
  assert.equal(knowing.code, 0, knowing.stdout)
  assert.match(knowing.stdout, /^weak {2}cgroup/m)
})

test('a program sees its box and not the host, and what is not limited is said', { skip }, async () => {
  const server = await start('nobody')
  try {
    assert.match(server.log, /boxes have no cgroup.*not enforced.*memory and processors/)
    const s = await status(server.pid)
    assert.equal(s.Uid.split('\t')[0], String(uid))
    assert.equal(s.NoNewPrivs, '1')
    assert.match(s.CapPrm, /^0+$/)
    const launcher = launcherOf(await family(server.pid))
    assert.equal(launcher.uid, uid)
    assert.notEqual(await readlink(`/proc/${launcher.pid}/ns/user`), await readlink(`/proc/${server.pid}/ns/user`))
    const source = `
import json, os, socket, sys
print(json.dumps({
    'uid': os.getuid(), 'groups': os.getgroups(), 'root': sorted(os.listdir('/')), 'host': socket.gethostname(),
    'processes': [p for p in os.listdir('/proc') if p.isdigit()],
    'caps': [l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap')],
    'place': os.path.exists(${JSON.stringify(server.dataDir)}), 'binary': os.path.exists(${JSON.stringify(binary)}),
    'init': os.path.exists('/proc/1/status'), 'null': open('/dev/null', 'w').write('x'), 'random': len(open('/dev/urandom', 'rb').read(8)),
}))
try: socket.create_connection(('127.0.0.1', ${server.port}))
except ConnectionRefusedError: print('no server')
try: os.utime('/dev/null')
except OSError as e: print('utime', e.errno)
os.kill(1, 9)
print('init lives')
`
    const { run: done, stdout, stderr } = await run(server, 'python', source)
    assert.equal(done.status, 'exited', stderr)
    assert.equal(done.exit_code, 0, stderr)
    const [first, ...rest] = stdout.trim().split('\n')
    const seen = JSON.parse(first)
    assert.equal(seen.uid, 1000)
    assert.notEqual(seen.host, hostname())
    assert.ok(seen.root.includes('work') && !seen.root.includes('home'))
    assert.ok(seen.processes.length <= 2, `sees ${seen.processes}`)
    assert.deepEqual(seen.caps, Array(5).fill('0000000000000000'))
    assert.deepEqual([seen.place, seen.binary, seen.init, seen.null, seen.random], [false, false, false, 1, 8])
    assert.deepEqual(rest, ['no server', 'utime 30', 'init lives']) // EROFS
    const js = await run(server, 'javascript', 'console.log([1, 2, 3].map((n) => n * n).join())')
    assert.equal(js.stdout, '1,4,9\n', js.stderr)
  } finally { await server.stop() }
})

test('processes and their memory are bounded without a cgroup', { skip }, async () => {
  const server = await start('nobody')
  try {
    const bomb = await run(server, 'python', `
import os, signal
n = 0
try:
    while n < 1000:
        if os.fork() == 0:
            signal.pause()
        n += 1
except OSError as e:
    print(n, e.errno)
`)
    assert.equal(bomb.stdout, '63 11\n', bomb.stderr) // with itself the 64 that a run has; EAGAIN
    const hungry = await run(server, 'python', `
held = []
try:
    while len(held) < 1000: held.append(bytearray(1 << 20))
except MemoryError:
    print('refused', len(held) < 256)
`)
    assert.equal(hungry.stdout, 'refused True\n', hungry.stderr)
  } finally { await server.stop() }
})

test('with ids of the user’s own every box has two of them', { skip }, async (t) => {
  const tools = await new Promise((resolve) => execFile('bash', ['-c', 'type newuidmap newgidmap && test -e /etc/subuid -a -e /etc/subgid'], (err) => resolve(!err)))
  if (!tools) return t.skip('newuidmap or /etc/subuid is not there (package uidmap)')
  const server = await start('somebody')
  try {
    const { run: done } = await run(server, 'python', 'import os, sys\nprint(os.getuid(), os.getgroups(), flush=True)\nsys.stdin.read()\n', {
      while: async () => {
        const uids = new Map()
        for (const p of (await family(server.pid)).filter((p) => p.confined)) {
          assert.ok(p.uid >= 1_500_000_000 && p.uid < 1_500_065_536, `${p.name} has uid ${p.uid}`)
          // A runtime that waits has its porter beside it.
          assert.ok([undefined, p.space].includes(uids.get(p.uid)), `uid ${p.uid} is used in two boxes`)
          uids.set(p.uid, p.space)
        }
        assert.ok(uids.size >= 4, `${uids.size} uids`) // the one that runs and one ahead at least
      },
    })
    assert.equal(done.status, 'exited')
    assert.doesNotMatch(server.log, /all boxes have one uid/)
  } finally { await server.stop() }
})

for (const victim of ['server', 'launcher']) {
  test(`kill -9 of the ${victim} leaves nothing running`, { skip }, async () => {
    const server = await start('nobody')
    try {
      const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'import os, signal\nos.fork()\nprint("up", flush=True)\nsignal.pause()\n' }] })
      const client = await liveClient(server, room.id, room.tokens.host)
      client.send({ type: 'run.start', mode: 'pipes' })
      await client.outputUntil(1, (text) => text.split('up').length > 2, 1)
      const before = await family(server.pid)
      assert.ok(before.filter((p) => p.name === 'python3').length >= 2)
      if (victim === 'server') await server.kill()
      else process.kill(launcherOf(before).pid, 'SIGKILL')
      await gone(before)
      if (victim === 'launcher') {
        assert.equal((await client.message('run.exited')).run.status, 'lost')
        assert.match(server.log, /the launcher has ended/)
        assert.doesNotMatch(server.log, /has not ended after its kill/) // but at once
      }
      client.close()
      await server.start()
      assert.equal((await run(server, 'python', 'print("again")')).stdout, 'again\n')
    } finally { await server.stop() }
  })
}
