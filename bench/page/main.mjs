// What the page feels like, in real Chromium against the real server: how soon somebody
// can type on a second visit, how typing goes while five others type in the same long
// file, and while a program floods the terminal. It prints a table for docs/performance.md.
//
//   CORUN_BIN=bin/corun CORUN_IMAGE_DIR=… CHROMIUM=… node bench/page/main.mjs [load] [typing] [flood]
import { launch, person, id } from '../../test/e2e/people.mjs'
import { syncClient, Y } from '../../test/e2e/clients.mjs'
import { makeRoom, startServer } from '../../test/e2e/server.mjs'
import { watch } from './watch.mjs'

const VISITS = 15
const LINES = 10_000
const WRITERS = 5
/** Between two keys of a quick typist, and of each remote one. */
const KEY_MS = 80
const WRITER_MS = 120
const KEYS = 250
const FLOODS = 5

const wanted = process.argv.slice(2)
const all = { load, typing, flood }
const server = await startServer()
const browser = await launch('--disable-gpu')
try {
  console.log(`Chromium ${browser.version()}, headless, drawn by the processor; node ${process.version}`)
  console.log('| what | median | 95 % | 99 % | most |\n| --- | --- | --- | --- | --- |')
  for (const [name, measure] of Object.entries(all)) if (wanted.length === 0 || wanted.includes(name)) await measure()
} finally {
  await browser.close()
  await server.stop()
}

function row(what, values, unit = 'ms') {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
  console.log(`| ${what} (n = ${sorted.length}) | ${[at(0.5), at(0.95), at(0.99), sorted.at(-1) ?? 0].map((v) => `${v.toFixed(1)} ${unit}`).join(' | ')} |`)
}

function frames(what, { frames: times, longTasks, keys, busy }) {
  row(`${what}: key to the next paint`, keys)
  row(`${what}: between two frames`, times)
  const share = (most) => `${(100 * times.filter((t) => t > most).length / times.length).toFixed(1)} %`
  // A clock that ticks 60 times a second gives 16.6 and 16.8: half a frame more is one that was missed.
  const mean = busy.reduce((sum, b) => sum + b, 0) / busy.length
  console.log(`| ${what}: processor time of the page's main thread | ${(100 * mean).toFixed(0)} % | | | |`)
  console.log(`| ${what}: frames over 16.7 ms by half a frame | ${share(25)} | over 33 ms: ${share(33.4)} | tasks over 50 ms: ${longTasks.length} | the longest ${Math.round(Math.max(0, ...longTasks))} ms |`)
}

/** From navigation until a key that was pressed stands in the text. */
async function load() {
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'print("hello")\n'.repeat(100) }] })
  const times = { first: [], second: [] }
  const visit = async (context) => {
    const page = await context.newPage()
    await page.addInitScript(() => {
      const look = () => {
        const content = document.querySelector('.cm-content[aria-readonly=false]')
        if (content === null || window.usableAt !== undefined) return requestAnimationFrame(look)
        content.focus()
        document.execCommand('insertText', false, '!')
        const arrived = () => {
          if (content.textContent.includes('!')) window.usableAt = performance.now()
          else requestAnimationFrame(arrived)
        }
        arrived()
      }
      requestAnimationFrame(look)
    })
    await page.goto(`${server.url}/r/${room.id}#t=${room.tokens.guest}`)
    const at = await (await page.waitForFunction(() => window.usableAt)).jsonValue()
    await page.keyboard.press('Backspace')
    await page.waitForSelector(`${id('saved')}[data-state=saved]`)
    await page.waitForSelector(`.terminal .xterm`)
    await page.close()
    return at
  }
  for (let n = 0; n < VISITS; n++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    times.first.push(await visit(context))
    times.second.push(await visit(context))
    await context.close()
  }
  row('until a key is taken, nothing cached', times.first)
  row('until a key is taken, second visit', times.second)
}

/** Types and gives what the page felt of it, and how much processor its main thread took. */
async function type(page, keys) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' })
  const spent = async () => (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value
  const before = await spent()
  const began = performance.now()
  await page.evaluate(() => window.watching.begin())
  for (let n = 0; n < keys; n++) {
    await page.keyboard.press(n % 12 === 11 ? 'Space' : 'x')
    await new Promise((resolve) => setTimeout(resolve, KEY_MS))
  }
  const felt = await page.evaluate(() => window.watching.end())
  felt.busy = [(await spent() - before) / ((performance.now() - began) / 1000)]
  await cdp.detach()
  return felt
}

async function typing() {
  const content = Array.from({ length: LINES }, (_, n) => `def function_${n}(value): return [value * ${n}, "text ${n}"]  # line ${n}`).join('\n')
  for (const [what, writers] of [['10,000 lines, alone', 0], [`10,000 lines, ${WRITERS} remote writers`, WRITERS]]) {
    const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content }] })
    const me = await person(browser, 'Hanna', { init: watch })
    await me.goto(server, room, 'guest')
    await me.connected()
    await me.page.waitForSelector('.cm-line span') // its grammar is there
    const others = await Promise.all(Array.from({ length: writers }, (_, n) => remoteWriter(room, n)))
    await me.page.click('.cm-line >> nth=4')
    await me.key('End')
    frames(what, await type(me.page, KEYS))
    for (const stop of others) stop()
    await me.close()
  }
}

/** A stock client that types within the lines that are in sight, with its cursor. */
async function remoteWriter(room, n) {
  const client = syncClient(server, room.id, room.tokens.guest)
  await client.synced()
  const { doc, provider } = client
  const text = doc.getText('file/main')
  provider.awareness.setLocalStateField('user', { name: `Writer ${n}`, hue: n * 70, id: `w${n}` })
  // At the end of a line, wherever that is moved by what others type.
  let place = Y.createRelativePositionFromTypeIndex(text, text.toString().split('\n').slice(0, 8 + 4 * n).join('\n').length)
  const timer = setInterval(() => {
    const { index } = Y.createAbsolutePositionFromRelativePosition(place, doc)
    text.insert(index, 'y')
    place = Y.createRelativePositionFromTypeIndex(text, index + 1)
    const cursor = Y.relativePositionToJSON(place)
    provider.awareness.setLocalStateField('cursor', { anchor: cursor, head: cursor })
  }, WRITER_MS)
  return () => {
    clearInterval(timer)
    client.close()
  }
}

async function flood() {
  const programs = [
    ['a flood of 8 MiB', 'import os\nline = b"y" * 63 + b"\\n"\nwhile True: os.write(1, line * 256)\n', FLOODS],
    ['700 KiB/s', 'import os, time\nline = b"y" * 63 + b"\\n"\nfor _ in range(500):\n    os.write(1, line * 220)\n    time.sleep(0.02)\n', 1],
  ]
  for (const [what, content, times] of programs) {
    const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content }] })
    const me = await person(browser, 'Hanna', { init: watch })
    await me.goto(server, room, 'guest')
    await me.connected()
    const felt = { frames: [], longTasks: [], keys: [], busy: [] }
    for (let n = 0; n < times; n++) {
      // A flood is soon over: nothing is waited for between Run and the first key.
      await me.page.click('.cm-content')
      await me.key('Control+End', 'Control+Enter')
      await me.page.waitForFunction(() => [...document.querySelectorAll('.xterm-rows > div')].some((line) => line.textContent.startsWith('yyyy')))
      const one = await type(me.page, times === 1 ? 100 : 30)
      for (const key of Object.keys(felt)) felt[key].push(...one[key])
      await me.page.waitForSelector(`${id('verdict')}[data-state=finished]`)
    }
    frames(what, felt)
    await me.close()
  }
}
