// Holds the document engine against Yjs in random histories.
//
//   go build -o /tmp/peer ./test/peer
//   cd test && node fuzz/fuzz.mjs --peer /tmp/peer --seconds 60
//
//   --peer FILE      the engine's side, built of test/peer
//   --histories N    as many as that, or
//   --seconds N      for as long; without either, until it is stopped
//   --seed S         what all is derived from; without it, another one each time
//   --from N         begins with the history of that number
//   --jobs J         processes, each with an engine of its own
//   --out DIR        where reproducers go
//   --keep-going     does not stop at the first disagreement, but tells of each kind once
//   --replay FILE    replays a reproducer instead
//
// It exits with 1 if there was a disagreement. See history.mjs for what is compared.
import { fork } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { History, length } from './history.mjs'
import { Peer } from './peer.mjs'
import { disagreementOf, replay, report } from './reproduce.mjs'

const { values: options } = parseArgs({
  options: {
    peer: { type: 'string' },
    histories: { type: 'string' },
    seconds: { type: 'string' },
    seed: { type: 'string' },
    from: { type: 'string', default: '0' },
    jobs: { type: 'string', default: '1' },
    out: { type: 'string', default: join(tmpdir(), 'corun-fuzz') },
    'keep-going': { type: 'boolean', default: false },
    replay: { type: 'string' },
    worker: { type: 'string' }, // which of the jobs this process is
  },
})

const number = (name, missing) => {
  if (options[name] === undefined) return missing
  const n = Number(options[name])
  if (!Number.isSafeInteger(n) || n < 0) fail(`--${name} takes a whole number, not ${options[name]}`)
  return n
}

function fail(message) {
  console.error(message)
  process.exit(2)
}

if (options.peer === undefined) fail('--peer is missing: the program built of test/peer')
const seed = number('seed', randomInt(2 ** 32))
const from = number('from')
const jobs = Math.max(1, number('jobs'))
const histories = number('histories', Infinity)
const end = Date.now() + number('seconds', Infinity) * 1000

/** Runs every jobs-th history, and tells of progress. */
async function work(first, tell) {
  const peer = new Peer(options.peer)
  const totals = { histories: 0, diverged: 0, disagreements: 0 }
  const told = new Set()
  let last = Date.now()
  for (let n = from + first; n < from + histories && Date.now() < end; n += jobs) {
    const history = new History(peer, seed, n)
    const all = Array.from({ length: length(seed, n) }, (_, i) => i)
    const found = await disagreementOf(peer, () => history.run(all))
    totals.histories++
    if (history.diverged !== null) totals.diverged++
    if (found !== null) {
      totals.disagreements++
      if (!told.has(found.what)) {
        told.add(found.what)
        const { name, file } = await report(peer, seed, n, found.what, options.out)
        tell({ found: { what: found.what, n, name, file } })
      }
      if (!options['keep-going']) break
    }
    if (Date.now() - last > 1000) {
      last = Date.now()
      tell({ totals })
    }
  }
  peer.close()
  tell({ totals })
  return totals
}

function printFound({ what, n, name, file }) {
  console.log(`\nDISAGREEMENT: ${what}\n  seed ${seed}, history ${n}, ${file.actions.length} actions, ${file.steps.length} steps of the engine; in ${name}`)
  for (const line of file.log) console.log(`  | ${cut(line, 300)}`)
  const { what: _what, seed: _seed, history: _history, actions: _actions, steps: _steps, log: _log, ...rest } = file
  printDetail(rest)
}

function printDetail(detail) {
  for (const [key, value] of Object.entries(detail)) {
    if (value !== undefined) console.log(`  ${key}: ${cut(typeof value === 'string' ? value : JSON.stringify(value), 2000)}`)
  }
}

const cut = (s, n) => (s.length > n ? `${s.slice(0, n)}… (${s.length})` : s)

/** Runs all jobs and prints; gives how many disagreements there were. */
async function main() {
  console.log(`seed ${seed}`)
  const begun = Date.now()
  const latest = new Map()
  const sum = (name) => [...latest.values()].reduce((n, totals) => n + totals[name], 0)
  const rate = () => `${sum('histories')} histories, ${Math.round(sum('histories') / ((Date.now() - begun) / 1000))}/s`
  const tell = (job) => (message) => {
    if (message.totals !== undefined) latest.set(job, { ...message.totals })
    if (message.found !== undefined) {
      printFound(message.found)
      if (!options['keep-going']) children.forEach((child, other) => { if (other !== job) child.kill() })
    }
  }
  const children = []
  const progress = setInterval(() => console.log(`${rate()}, ${sum('disagreements')} disagreements`), 10_000)
  if (jobs === 1) {
    await work(0, tell(0))
  } else {
    await Promise.all(Array.from({ length: jobs }, (_, job) => new Promise((resolve) => {
      const args = [...process.argv.slice(2), '--seed', String(seed), '--worker', String(job)]
      const child = fork(fileURLToPath(import.meta.url), args)
      children.push(child)
      child.on('message', tell(job))
      child.on('exit', (code, signal) => {
        if (code > 1) process.exitCode = 2
        resolve(signal)
      })
    })))
  }
  clearInterval(progress)
  console.log(`${rate()}; Yjs itself did not converge in ${sum('diverged')}`)
  console.log(`${sum('histories')} histories, ${sum('disagreements')} disagreements`)
  return sum('disagreements')
}

if (options.replay !== undefined) {
  const peer = new Peer(options.peer)
  const found = await replay(peer, options.replay)
  peer.close()
  console.log(found === null ? 'no disagreement' : `DISAGREEMENT: ${found.what}`)
  if (found !== null) printDetail(found.detail)
  process.exitCode = found === null ? 0 : 1
} else if (options.worker !== undefined) {
  await work(Number(options.worker), (message) => process.send(message))
  process.disconnect()
} else if (await main() > 0) {
  process.exitCode = 1
}
