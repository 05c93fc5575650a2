// Starts the real server for a test and ends it again.
//
//   const server = await startServer({ args: ['--open-rooms'] })
//   server.url, server.port, server.dataDir
//   await server.kill()      SIGKILL, as a crash would
//   await server.restart()   the same data, the same port
//   await server.exited()    its exit code, when it ends by itself
//   await server.stop()      SIGTERM; the data directory goes too
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const repo = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
export const binary = process.env.CORUN_BIN ?? join(repo, 'bin', 'corun')

/**
 * A port that is free now, and not one of those that the kernel gives to connections: such a one
 * could be taken before the server has it.
 */
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const probe = createServer().listen(port, '127.0.0.1')
    const free = await once(probe, 'listening').then(() => true, () => false)
    if (!free) continue
    probe.close()
    await once(probe, 'close')
    return port
  }
}

/**
 * as is a command that executes another: who runs the server, and where; up is what tells
 * that it serves.
 */
export async function startServer({ args = [], dataDir, env = {}, as, up = 'readyz' } = {}) {
  const ownDir = dataDir === undefined
  dataDir ??= await mkdtemp(join(tmpdir(), 'corun-e2e-'))
  const port = await freePort()
  const adminPort = await freePort()
  const url = `http://127.0.0.1:${port}`
  let child
  let log = ''

  async function start() {
    const all = ['serve', '--addr', `127.0.0.1:${port}`, '--admin-addr', `127.0.0.1:${adminPort}`, '--data-dir', dataDir]
    if (process.env.CORUN_IMAGE_DIR && !as) all.push('--image-dir', process.env.CORUN_IMAGE_DIR)
    if (process.env.CORUN_ISOLATION && !as) all.push('--isolation', process.env.CORUN_ISOLATION)
    const [command, ...before] = as ?? [binary]
    child = spawn(command, [...before, ...all, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', (d) => (log += d))
    child.stderr.on('data', (d) => (log += d))
    const gone = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the server ended with ${code ?? signal} before it was ready:\n${log}`)
    })
    gone.catch(() => {})
    await Promise.race([ready(), gone])
  }

  async function ready() {
    for (;;) {
      const ok = await fetch(`${url}/${up}`).then((r) => r.ok, () => false)
      if (ok) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async function end(signal) {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const exit = once(child, 'exit')
    child.kill(signal)
    const [code] = await exit
    return code
  }

  await start()
  return {
    url,
    port,
    dataDir,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    ws: `ws://127.0.0.1:${port}`,
    get log() { return log },
    get pid() { return child.pid },
    kill: () => end('SIGKILL'),
    exited: async () => {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      return child.exitCode
    },
    restart: async () => { await end('SIGKILL'); await start() },
    start,
    stop: async () => {
      const code = await end('SIGTERM')
      if (ownDir) await rm(dataDir, { recursive: true, force: true })
      return code
    },
  }
}

/** Makes a room over the API. */
export async function makeRoom(server, body = { language: 'python' }) {
  const res = await fetch(`${server.url}/api/v1/rooms`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (res.status !== 201) throw new Error(`POST /rooms: ${res.status} ${await res.text()}`)
  return res.json()
}
