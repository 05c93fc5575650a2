// Two stock clients that see each other's edits, and how long that takes.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { syncClient, within } from './clients.mjs'

/** Two stock clients of a room: one edits, the other sees it. */
export class Pair {
  static async join(server, room) {
    const pair = new Pair()
    pair.a = syncClient(server, room, undefined, { version: '3' })
    pair.b = syncClient(server, room, undefined, { version: '2' })
    pair.took = []
    pair.n = 0
    pair.shown = 0 // updates, to both
    for (const { provider } of [pair.a, pair.b]) {
      const take = provider.messageHandlers[0]
      provider.messageHandlers[0] = (encoder, decoder, ...rest) => {
        if (decoder.arr[decoder.pos] === 2) pair.shown++
        take(encoder, decoder, ...rest)
      }
    }
    await Promise.all([pair.a.synced(), pair.b.synced()])
    return pair
  }

  async edit() {
    const n = ++this.n
    const [from, to] = [this.a.doc.getMap('pair'), this.b.doc.getMap('pair')]
    const begin = performance.now()
    await within(new Promise((resolve) => {
      const look = () => { if (to.get('n') === n) { to.unobserve(look); resolve() } }
      to.observe(look)
      from.set('n', n)
    }), `edit ${n} to be seen`, 60_000)
    this.took.push(performance.now() - begin)
  }

  /** Edits until stop, one after the other. */
  start() {
    this.stopped = false
    this.edits = (async () => {
      while (!this.stopped) {
        await this.edit()
        await new Promise((resolve) => setTimeout(resolve, 2)) // an editor, not a flood
      }
    })()
    this.edits.catch(() => {}) // told by stop
  }

  async stop() { this.stopped = true; await this.edits }

  close() { this.a.close(); this.b.close() }
}

/** A pair in a thread of its own: what it feels is the server's doing, not that of other clients of the test. */
export class PairElsewhere {
  static async join(server, room) {
    const pair = new PairElsewhere()
    pair.worker = new Worker(new URL(import.meta.url), { workerData: { pairAt: server.ws, room } })
    pair.failed = new Promise((_, reject) => pair.worker.on('error', reject))
    pair.failed.catch(() => {}) // told by ask
    await pair.ask('join')
    return pair
  }

  /** Has something done, and gives what came of it. */
  ask(what, n) {
    const answer = new Promise((resolve, reject) => this.worker.once('message', ({ failed, done }) => (failed ? reject(new Error(failed)) : resolve(done))))
    this.worker.postMessage({ what, n })
    return Promise.race([answer, this.failed])
  }

  edits(n) { return this.ask('edits', n) }
  start() { return this.ask('start') }
  /** Gives how long each edit since start took, in milliseconds, and the codes of closes. */
  stop() { return this.ask('stop') }
  close() { return this.worker.terminate() }
}

if (!isMainThread && workerData?.pairAt) {
  let pair
  const does = {
    async join() { pair = await Pair.join({ ws: workerData.pairAt }, workerData.room) },
    async edits(n) { for (let i = 0; i < n; i++) await pair.edit() },
    start() {
      pair.took.length = 0
      pair.start()
    },
    async stop() {
      await pair.stop()
      return { took: pair.took, closes: [...pair.a.closes, ...pair.b.closes] }
    },
  }
  parentPort.on('message', async ({ what, n }) => {
    try { parentPort.postMessage({ done: await does[what](n) }) } catch (err) { parentPort.postMessage({ failed: err.stack }) }
  })
}
