// What people in a room see of it when what runs their program dies.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { liveClient } from './clients.mjs'
import { family, gone, launcherOf } from './processes.mjs'
import { makeRoom, startServer } from './server.mjs'

/** A room with a running program of which everybody has seen something. */
async function running(server, code) {
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: code }] })
  const host = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna' })
  host.send({ type: 'run.start' })
  await host.outputUntil(1, (t) => t.includes('seen\r\n'))
  return { room, host }
}

const api = (server, room, path) => fetch(`${server.url}/api/v1/rooms/${room.id}${path}`, { headers: { authorization: `Bearer ${room.tokens.host}` } })

test('a run whose launcher is killed ends as lost, in words, and the server ends', async () => {
  const server = await startServer()
  try {
    const { room, host } = await running(server, 'import time\nprint("seen", flush=True)\ntime.sleep(100)\n')
    const processes = await family(server.pid)
    process.kill(launcherOf(processes).pid, 'SIGKILL')
    const { run } = await host.message('run.exited')
    assert.equal(run.status, 'lost')
    assert.match(run.message, /output until then is kept/)
    assert.notEqual(await server.exited(), 0)
    host.close()
    await gone(processes)
    await server.restart()
    const after = await (await api(server, room, '/runs/1')).json()
    assert.equal(after.status, 'lost')
    assert.equal(await (await api(server, room, '/runs/1/output')).text(), 'seen\r\n')
  } finally { await server.stop() }
})

test('output that somebody has seen survives the server, whenever it is killed', async () => {
  const server = await startServer()
  try {
    for (let n = 1; n <= 3; n++) {
      const { room, host } = await running(server, 'print("seen")\nn = 0\nwhile True:\n    print(n); n += 1\n')
      // In the middle of a flood.
      await host.outputUntil(1, (t) => t.length > n * 50_000)
      const processes = await family(server.pid)
      await server.kill()
      host.close()
      const seen = host.output(1)
      await gone(processes)
      await server.restart()
      const { status, message, output } = await (await api(server, room, '/runs/1')).json()
      assert.equal(status, 'lost', message)
      const kept = await (await api(server, room, '/runs/1/output')).text()
      assert.equal(output.pty, kept.length)
      assert.ok(kept.startsWith(seen), `of ${seen.length} bytes that were seen ${kept.length} are kept`)
    }
  } finally { await server.stop() }
})
