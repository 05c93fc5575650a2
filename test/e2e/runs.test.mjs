// Programs are started, stopped and typed into by many at once while what runs them dies.
// CORUN_SOAK=1 makes it long; SEED=n has the same again, as far as clocks allow.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storm } from './runs.mjs'

const seed = Number(process.env.SEED ?? Date.now() % 1e9)
const soak = !!process.env.CORUN_SOAK
const root = process.getuid() === 0 ? {} : { skip: 'to kill in boxes takes root' }

test(`every run ends once, nothing that was seen is lost, and only drivers type (seed ${seed})`, root, async (t) => {
  const counts = await storm({
    seed, ...(soak ? { rooms: 100, kills: 20, seconds: 600 } : { rooms: 20, kills: 3, args: ['--pool', '2', '--pool-memory', '8MiB'] }),
    log: (line) => { if (soak) console.log(line) },
  })
  // All of it has happened.
  for (const what of ['runs', 'exited', 'lost', 'refused: not_driver', 'typed and read', 'came back', 'whole outputs', 'streams compared']) assert.ok(counts[what] > 0, `${what}: ${JSON.stringify(counts)}`)
  t.diagnostic(JSON.stringify(counts))
})
