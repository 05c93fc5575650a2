// Clients type while the server dies. CORUN_SOAK=1 makes it long.
import { test } from 'node:test'
import { survive } from './kill.mjs'

const seed = Number(process.env.SEED ?? Date.now() % 1e9)
const soak = !!process.env.CORUN_SOAK
const root = process.getuid() === 0 ? {} : { skip: 'a small disk takes root to mount' }

test(`nothing that was seen is lost when the server or its launcher is killed (seed ${seed})`, async (t) => {
  const counts = await survive({ seed, ...(soak ? { kills: 200, launcherKills: 50 } : { kills: 7, launcherKills: 3 }), log: (line) => { if (soak) console.log(line) } })
  t.diagnostic(JSON.stringify(counts))
})

test(`a full disk refuses edits and loses nothing, also when the server is killed then (seed ${seed})`, root, async (t) => {
  const counts = await survive({ seed, ...(soak ? { kills: 20, fulls: 40, small: 96 } : { kills: 1, fulls: 2, small: 16 }), log: (line) => { if (soak) console.log(line) } })
  t.diagnostic(JSON.stringify(counts))
})
