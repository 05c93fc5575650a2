// The page in Debian's Chromium: two people write one program, run it and see
// the same, each in a browser of their own. SCREENSHOTS=dir keeps pictures.
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { makeRoom, startServer } from './server.mjs'

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]
const pictures = process.env.SCREENSHOTS

let server
let browser
before(async () => {
  server = await startServer()
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: flags })
  if (pictures) await mkdir(pictures, { recursive: true })
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

const id = (name) => `[data-testid=${name}]`

/** One person with a browser profile of their own. */
async function person(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ['clipboard-read', 'clipboard-write'], ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  /** The editor's text as its lines show it, without other people's labels. */
  await page.addInitScript(() => {
    window.editorText = () => [...document.querySelectorAll('.cm-line')].map((line) => {
      const copy = line.cloneNode(true)
      copy.querySelectorAll('.remote-caret').forEach((caret) => caret.remove())
      return copy.textContent
    }).join('\n')
  })
  const faults = []
  page.on('pageerror', (err) => faults.push(err.message))
  // A policy that blocks something of ours shows here and nowhere else.
  page.on('console', (msg) => { if (/Content Security Policy/.test(msg.text())) faults.push(msg.text()) })
  const until = (fn, arg) => page.waitForFunction(fn, arg)
  return {
    page,
    faults,
    close: () => context.close(),
    picture: async (name) => { if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) }) },
    connected: () => page.waitForSelector(`${id('connection')}[data-state=connected]`),
    saved: () => page.waitForSelector(`${id('saved')}[data-state=saved]`),
    text: () => page.evaluate(() => window.editorText()),
    seesText: (text) => until((want) => window.editorText().includes(want), text),
    output: () => page.$$eval('.xterm-rows > div', (rows) => rows.map((row) => row.textContent.trimEnd()).join('\n').trimEnd()),
    seesOutput: (text) => until((want) => [...document.querySelectorAll('.xterm-rows > div')].some((row) => row.textContent.includes(want)), text),
    seesNoOutput: (text) => until((not) => ![...document.querySelectorAll('.xterm-rows > div')].some((row) => row.textContent.includes(not)), text),
    verdict: (status) => page.waitForSelector(`${id('verdict')}[data-state=finished][data-status=${status}]`),
    running: () => page.waitForSelector(`${id('verdict')}[data-state=running]`),
    driver: (name) => page.waitForSelector(`${id('driver')}[data-driver="${name}"]`),
    /** Replaces the whole text as a person would. */
    write: async (code) => {
      await page.click('.cm-content')
      await page.keyboard.press('Control+A')
      await page.keyboard.insertText(code)
    },
  }
}

/** A host and a guest in a new room that holds code, both connected. */
async function pair(code, language = 'python', file = 'main.py') {
  const room = await makeRoom(server, { language, files: [{ path: file, content: code }] })
  const host = await person()
  const guest = await person({ colorScheme: 'dark', viewport: { width: 1440, height: 900 } })
  for (const [who, token, name] of [[host, room.tokens.host, 'Hanna'], [guest, room.tokens.guest, 'Gus']]) {
    await who.page.addInitScript((n) => {
      localStorage.setItem('corun.identity', JSON.stringify({ name: n, hue: n === 'Gus' ? 25 : 250, chosen: true }))
    }, name)
    await who.page.goto(`${server.url}/r/${room.id}#t=${token}`)
    await who.connected()
  }
  return { room, host, guest, close: () => Promise.all([host.close(), guest.close()]) }
}

test('the whole story: a room, a guest, the same text, the same run, a hand-over', async () => {
  const ada = await person()
  const bea = await person({ colorScheme: 'dark', viewport: { width: 1440, height: 900 } })
  try {
    // Ada makes a room; Enter on the page is enough, here with a name and a title.
    await ada.page.goto(server.url)
    await ada.page.waitForSelector('input[value=python]:checked')
    // A language is found by what it is called, or by its files; Enter chooses.
    for (const [text, name] of [['.rs', 'rust'], ['pyth', 'python']]) {
      await ada.page.fill(id('language-search'), text)
      assert.equal(await ada.page.locator('input[name=language]').count(), 1)
      await ada.page.press(id('language-search'), 'Enter')
      await ada.page.waitForSelector(`input[value=${name}]:checked`)
    }
    await ada.picture('1-start')
    await ada.page.fill(id('name-input'), 'Ada')
    await ada.page.fill(id('title-input'), 'Two of us')
    await ada.page.uncheck(id('example'))
    await ada.page.click(id('new-room'))
    await ada.connected()
    assert.match(ada.page.url(), /\/r\/[0-9a-z]{26}#t=/)

    // The guest link brings Bea in, who gives her name in passing.
    await ada.page.click(id('share'))
    const link = await ada.page.inputValue(id('share-guest'))
    await ada.page.click(id('copy-guest'))
    assert.equal(await ada.page.evaluate(() => navigator.clipboard.readText()), link)
    await ada.page.keyboard.press('Escape')
    await bea.page.goto(link)
    await bea.connected()
    await bea.page.fill(id('name-input'), 'Bea')
    await bea.page.click(id('name-save'))
    await ada.page.waitForSelector(`${id('participants')} >> text=Bea`)

    // Both type in the same file and see each other's text, cursor and name.
    await ada.page.click('.cm-content')
    await ada.page.keyboard.type('name = input("Who? ")\nprint("Hello,", name)\n')
    await bea.seesText('print("Hello,", name)')
    await bea.page.waitForSelector('.remote-caret .remote-name >> text=Ada')
    await bea.page.click('.cm-content')
    await bea.page.keyboard.press('Control+End')
    await bea.page.keyboard.type('# by Bea')
    await ada.seesText('# by Bea')
    await ada.page.waitForSelector('.remote-caret .remote-name >> text=Bea')
    assert.equal(await ada.text(), await bea.text())
    await ada.picture('2-both-type-light')
    await bea.picture('2-both-type-dark')

    // Bea runs by the keyboard; nobody drove, so she does.
    await bea.page.keyboard.press('Control+Enter')
    for (const who of [ada, bea]) {
      await who.seesOutput('Who?')
      await who.driver('Bea')
      await who.running()
    }
    // Only her typing counts, and both see it.
    await ada.page.click(id('terminal'))
    await ada.page.keyboard.type('nobody')
    await bea.page.click(id('terminal'))
    await bea.page.keyboard.type('Wor')
    await ada.seesOutput('Who? Wor')
    assert.ok(!(await ada.output()).includes('nobody'))

    // Ada, being host, takes the seat and finishes the line.
    await ada.page.click(id('driver-take'))
    await bea.driver('Ada')
    await ada.page.click(id('terminal'))
    await ada.page.keyboard.type('ld\n')
    for (const who of [ada, bea]) {
      await who.seesOutput('Hello, World')
      await who.verdict('exited')
      assert.match(await who.page.textContent(id('verdict')), /Finished.*exit status 0/)
      assert.match(await who.page.textContent(id('time')), /\d (ms|s)$/)
      assert.match(await who.page.textContent(id('memory')), /\d (KiB|MiB)$/)
    }
    await ada.picture('3-finished-light')
    await bea.picture('3-finished-dark')

    // Bea asks, Ada gives, Bea lets go.
    await bea.page.click(id('driver-request'))
    await ada.page.click(`${id('driver-asks')} ${id('driver-give')}`)
    await ada.driver('Bea')
    await bea.page.click(id('driver-release'))
    await ada.driver('')

    // A reload keeps the text, the room and the person.
    await bea.saved()
    const text = await bea.text()
    await bea.page.reload()
    await bea.connected()
    await bea.seesText('# by Bea')
    assert.equal(await bea.text(), text)
    await bea.seesOutput('Hello, World')
    assert.equal(await ada.page.locator(id('participant')).count(), 2)
    assert.deepEqual([...ada.faults, ...bea.faults], [])
  } finally {
    await Promise.all([ada.close(), bea.close()])
  }
})

test('output comes while the program runs, Run by the button, Stop stops for both', async () => {
  const { host, guest, close } = await pair('import time\nn = 0\nwhile True:\n    print("tick", n, flush=True)\n    n += 1\n    time.sleep(0.1)\n')
  try {
    await host.page.click(id('run'))
    for (const who of [host, guest]) {
      await who.seesOutput('tick 3')
      await who.running()
      assert.ok(await who.page.isDisabled(id('run')))
    }
    await guest.picture('4-running-dark')
    await guest.page.click(id('stop'))
    for (const who of [host, guest]) {
      await who.verdict('stopped')
      assert.match(await who.page.textContent(id('verdict')), /Stopped/)
    }
    // The next run begins on an empty screen.
    await host.write('print("again")\n')
    await host.saved()
    await host.page.keyboard.press('Control+Enter')
    for (const who of [host, guest]) {
      await who.seesOutput('again')
      await who.seesNoOutput('tick')
      await who.verdict('exited')
    }
  } finally { await close() }
})

test('an exit status, a traceback and a limit are told in words', async () => {
  const { host, guest, close } = await pair('import sys\nsys.exit(3)\n')
  try {
    await host.page.click(id('run'))
    await guest.verdict('exited')
    assert.match(await guest.page.textContent(id('verdict')), /exit status 3/)
    await host.write('x = []\nwhile True: x.append(bytearray(10_000_000))\n')
    await host.saved()
    await guest.page.click(id('run'))
    await host.verdict('memory_limit')
    assert.match(await host.page.textContent(id('verdict')), /Ran out of memory.*256 MiB/)
    // The same is told to a screen reader.
    await host.page.waitForSelector(`${id('announcement')} >> text=Ran out of memory`, { state: 'attached' })
    await host.picture('5-memory-limit-light')
  } finally { await close() }
})

test('a plot is seen by everybody, also who comes later, and shown large', async () => {
  const { room, host, guest, close } = await pair(`import os, struct, zlib
os.mkdir("out")
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\\0" + bytes(v for x in range(240) for v in (x, y, 160)) for y in range(160))
with open("out/plot one.png", "wb") as f:
    f.write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 240, 160, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
open("out/broken.png", "w").write("no image")
open("out/table.csv", "w").write("a,b\\n1,2\\n")
print("drawn")
`)
  const viewer = await person()
  const drawn = (page) => page.waitForFunction(() => {
    const image = document.querySelector('.artefacts img[alt="plot one.png"]')
    return image !== null && image.complete && image.naturalWidth === 240
  })
  try {
    await host.page.click(id('run'))
    await Promise.all([host.verdict('exited'), guest.verdict('exited')])
    await Promise.all([drawn(host.page), drawn(guest.page)])
    await host.page.waitForSelector(`${id('artefacts')} >> text=cannot be read`)
    await host.picture('plot')
    await guest.picture('plot-dark')
    await viewer.page.goto(`${server.url}/r/${room.id}#t=${room.tokens.viewer}`)
    await viewer.connected()
    await drawn(viewer.page)

    await host.page.focus('.artefact-image')
    await host.page.keyboard.press('Enter')
    await host.page.waitForSelector('dialog[open] img')
    assert.equal(await host.page.evaluate(() => document.activeElement.textContent), 'Close')
    assert.ok(await host.page.$eval('dialog[open] img', (image) => image.clientWidth >= 480), 'a small plot is shown larger than it is')
    await host.picture('plot-large')
    // Who looks at it large sees what the next run draws, in its place.
    await guest.page.click(id('run'))
    await host.page.waitForSelector(`${id('artefacts')}[data-run="2"]`)
    await host.page.waitForFunction(() => {
      const [small, large] = document.querySelectorAll('img[alt="plot one.png"]')
      return large?.closest('dialog[open]') && large.complete && large.naturalWidth === 240 && large.src === small.src
    })
    await host.page.keyboard.press('Escape')
    await host.page.waitForSelector('dialog', { state: 'detached' })
    assert.ok(await host.page.evaluate(() => document.activeElement.matches('.artefact-image')), 'the focus goes back to the small image')
    const [saved] = await Promise.all([host.page.waitForEvent('download'), host.page.click('.artefact-file >> text=table.csv')])
    assert.equal(saved.suggestedFilename(), 'table.csv')

    // They stay, and the terminal's size with them, until a run is over that left none.
    await host.page.evaluate(() => {
      const pane = document.querySelector('.terminal')
      window.heights = new Set()
      new ResizeObserver(() => window.heights.add(pane.clientHeight)).observe(pane)
    })
    await host.write('print("nothing drawn", len(input()))\n')
    await host.saved()
    await host.page.click(id('run'))
    await host.seesNoOutput('drawn')
    await host.page.waitForSelector(`${id('artefacts')}[data-run="2"][data-old=true]`)
    await host.running()
    await host.picture('plot-while-running')
    assert.equal(await host.page.evaluate(() => window.heights.size), 1)
    await host.page.click('.xterm')
    await host.page.keyboard.type('x\n')
    await host.page.waitForSelector(id('artefacts'), { state: 'detached' })
    await host.verdict('exited')
    await host.seesOutput('nothing drawn 1')
    assert.equal(await guest.page.locator(id('artefacts')).count(), 0)
    assert.deepEqual([...host.faults, ...guest.faults, ...viewer.faults], [])
  } finally {
    await Promise.all([close(), viewer.close()])
  }
})

test('a program that does not compile says why, and one that does says how long it took', async () => {
  const { host, guest, close } = await pair('#include <stdio.h>\nint main(void) { puts("compiled") }\n', 'c', 'main.c')
  try {
    await host.page.click(id('run'))
    await Promise.all([host.verdict('compile_failed'), guest.verdict('compile_failed')])
    await guest.seesOutput('main.c:2:')
    await host.picture('compile-failed')
    assert.match(await guest.page.textContent(id('verdict')), /Did not compile/)
    await host.write('#include <stdio.h>\nint main(void) { puts("compiled"); }\n')
    await host.saved()
    await guest.page.evaluate((line) => {
      window.words = []
      new MutationObserver(() => window.words.push(document.querySelector(line).textContent)).observe(document.querySelector(line), { subtree: true, childList: true, characterData: true })
    }, id('verdict'))
    await host.page.click(id('run'))
    await host.verdict('exited')
    await guest.seesOutput('compiled')
    assert.ok((await guest.page.evaluate(() => window.words)).some((words) => words.startsWith('Compiling…')))
    await guest.page.waitForSelector(`${id('compile')} >> text=compiled in`)
    await host.picture('compiled')
    await guest.page.click(id('run'))
    await host.page.waitForSelector(`${id('compile')} >> text=compiled before`)
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally {
    await close()
  }
})

test('a viewer sees everything and changes nothing', async () => {
  const { room, host, guest, close } = await pair('print("seen by all")\n')
  const viewer = await person()
  try {
    await viewer.page.goto(`${server.url}/r/${room.id}#t=${room.tokens.viewer}`)
    await viewer.connected()
    await viewer.seesText('seen by all')
    await viewer.page.click('.cm-content')
    await viewer.page.keyboard.type('mine')
    await viewer.page.keyboard.press('Control+Enter')
    assert.ok(await viewer.page.isDisabled(id('run')))
    assert.equal(await viewer.page.locator(id('driver-take')).count(), 0)
    await guest.page.click(id('run'))
    await viewer.seesOutput('seen by all')
    await viewer.verdict('exited')
    assert.equal(await viewer.text(), await host.text())
    assert.ok(!(await host.text()).includes('mine'))
    assert.match(await viewer.page.textContent(id('read-only')), /only hosts and guests edit/)
  } finally { await Promise.all([close(), viewer.close()]) }
})

test('undo takes back only one’s own text', async () => {
  const { host, guest, close } = await pair('')
  try {
    await host.page.click('.cm-content')
    await host.page.keyboard.type('mine')
    await guest.seesText('mine')
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+End')
    await guest.page.keyboard.type(' yours')
    await host.seesText('mine yours')
    await host.page.keyboard.press('Control+Z')
    await guest.page.waitForFunction(() => !document.querySelector('.cm-content').textContent.includes('mine'))
    await guest.seesText('yours')
  } finally { await close() }
})

test('another file can be made, imported and renamed; both see it', async () => {
  const { host, guest, close } = await pair('import helper\nprint(helper.word)\n')
  try {
    await host.page.click(id('new-file'))
    await host.page.fill(id('path-input'), 'main.py')
    await host.page.keyboard.press('Enter')
    await host.page.waitForSelector('text=There is a file main.py already.')
    await host.page.fill(id('path-input'), 'helper.py')
    await host.page.keyboard.press('Enter')
    await guest.page.click(`${id('files')} >> text=helper.py`)
    await guest.page.click('.cm-content')
    await guest.page.keyboard.type('word = "imported"')
    await host.seesText('word = "imported"')
    await guest.saved()
    await guest.page.click(id('run'))
    await host.seesOutput('imported')
  } finally { await close() }
})

test('a server that dies and comes back loses nothing and asks nothing of anybody', async () => {
  const { host, guest, close } = await pair('print(1)\n')
  try {
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Control+End')
    await host.page.keyboard.type('# before')
    await guest.seesText('# before')
    await server.kill()
    for (const who of [host, guest]) await who.page.waitForSelector(`${id('connection')}[data-state=reconnecting]`)
    await host.page.keyboard.type(' and while it was away')
    await host.page.waitForSelector(`${id('saved')}[data-state=local] >> text=Not saved yet`)
    await server.start()
    for (const who of [host, guest]) await who.connected()
    await guest.seesText('# before and while it was away')
    await host.saved()
    assert.equal(await host.text(), await guest.text())
  } finally { await close() }
})

test('a removed person, an ended room and a bad link get a clear page', async () => {
  const { room, host, guest, close } = await pair('')
  const lost = await person()
  try {
    await lost.page.goto(`${server.url}/r/${room.id}#t=wrong`)
    await lost.page.waitForSelector(`${id('ending')} >> text=no such room for this link`)
    await host.page.hover(`${id('participant')} >> nth=1`)
    await host.page.click(id('person-menu'))
    await host.page.click(id('remove'))
    await host.page.click(id('question-yes'))
    await guest.page.waitForSelector(`${id('ending')} >> text=You were removed`)
    await fetch(`${server.url}/api/v1/rooms/${room.id}`, {
      method: 'PATCH',
      headers: { Authorization: `Bearer ${room.tokens.host}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ ended: true }),
    })
    await host.page.waitForSelector(`${id('ending')} >> text=This room has ended`)
  } finally { await Promise.all([close(), lost.close()]) }
})

test('everything is reached by the keyboard, and Escape then Tab leaves the editor', async () => {
  const { host, guest, close } = await pair('x = 1\n')
  try {
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Control+Home')
    await host.page.keyboard.press('Tab')
    await guest.seesText('    x = 1')
    await host.page.keyboard.press('Escape')
    await host.page.keyboard.press('Tab')
    assert.equal(await host.page.evaluate(() => document.activeElement?.closest('.cm-editor')), null)
    const where = () => host.page.evaluate(() => ['.editor-pane', '.run-pane', '.sidebar'].find((pane) => document.activeElement?.closest(pane)))
    await host.page.click('.cm-content')
    for (const pane of ['.run-pane', '.sidebar', '.editor-pane']) {
      await host.page.keyboard.press('F6')
      await host.page.waitForFunction((p) => document.activeElement?.closest(p), pane)
      assert.equal(await where(), pane)
    }
    // Shift+Tab leaves the terminal even while a program reads from it.
    await host.write('input()\n')
    await host.saved()
    await host.page.keyboard.press('Control+Enter')
    await host.running()
    await host.page.waitForFunction(() => document.activeElement?.closest('.terminal'))
    await host.page.keyboard.press('Shift+Tab')
    assert.equal(await host.page.evaluate(() => document.activeElement?.closest('.terminal')), null)
    await host.page.keyboard.press('Control+.')
    await guest.verdict('stopped')
  } finally { await close() }
})

test('who presses Run goes on to type, even where the news of the seat comes late', async () => {
  const { room, host, close } = await pair('input()\n')
  try {
    // The seat is given after the run is announced: here it comes when that was shown.
    let hold = (message) => void message
    await host.page.routeWebSocket(/\/live\//, (page) => {
      const upstream = page.connectToServer()
      upstream.onMessage((message) => {
        if (typeof message === 'string' && JSON.parse(message).type === 'driver.changed') hold = () => page.send(message)
        else page.send(message)
      })
    })
    await host.page.goto('about:blank')
    await host.page.goto(`${server.url}/r/${room.id}#t=${room.tokens.host}`)
    await host.connected()
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Control+Enter')
    await host.running()
    hold()
    await host.page.waitForFunction(() => document.activeElement?.closest('.terminal'))
    await host.page.keyboard.type('done\n')
    await host.verdict('exited')
  } finally { await close() }
})

test('on a phone the three panes stand behind tabs', async () => {
  const { room, close } = await pair('print("small")\n')
  const phone = await person({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  try {
    await phone.page.goto(`${server.url}/r/${room.id}#t=${room.tokens.guest}`)
    await phone.connected()
    await phone.seesText('small')
    await phone.page.tap('.views >> text=Output')
    await phone.page.tap(id('run'))
    await phone.seesOutput('small')
    await phone.verdict('exited')
    await phone.picture('6-phone-output')
    await phone.page.tap('.views >> text=Room')
    assert.equal(await phone.page.locator(id('participant')).count(), 3)
    await phone.picture('6-phone-room')
    const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth)
    assert.ok(wide <= 390, `the page is ${wide} px wide`)
  } finally { await Promise.all([close(), phone.close()]) }
})

test('what happened is shown again as it was: text, output and seat, at any moment', async () => {
  const { room, host, guest, close } = await pair('')
  const late = await person({ colorScheme: 'dark' })
  try {
    await host.page.click('.cm-content')
    await host.page.keyboard.type('name = input("Who? ")\n', { delay: 5 })
    await guest.seesText('Who?')
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+End')
    await guest.page.keyboard.insertText(`print("Hello,", name)\n${'# pasted\n'.repeat(12)}`)
    await host.seesText('Hello')
    await guest.page.keyboard.press('Control+Enter')
    await guest.driver('Gus')
    await guest.seesOutput('Who?')
    await guest.page.keyboard.type('Ada\n')
    await host.verdict('exited')
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Control+A')
    await host.page.keyboard.type('# all gone')
    await guest.seesText('# all gone')
    await guest.saved()

    await late.page.goto(`${server.url}/r/${room.id}/playback#t=${room.tokens.viewer}`)
    await late.page.waitForSelector(id('play'))
    assert.equal(await late.text(), '')
    // To the run, and to its end.
    await late.page.click(id('run-after'))
    await late.seesText('print("Hello,", name)')
    await late.page.focus(id('scrub'))
    const scrub = (to) => late.page.evaluate((part) => {
      const range = document.querySelector('[data-testid=scrub]')
      range.value = String(part === 1 ? range.max : Math.floor(range.max * part))
      range.dispatchEvent(new Event('input', { bubbles: true }))
    }, to)
    await scrub(1)
    await late.seesText('# all gone')
    await late.seesOutput('Hello, Ada')
    assert.match(await late.page.textContent(id('playback-verdict')), /Finished/)
    assert.equal(await late.text(), await host.text())
    await late.picture('playback-dark')
    await scrub(0)
    assert.equal(await late.text(), '')
    await late.seesNoOutput('Who?')
    // It plays by itself, to the end.
    await late.page.selectOption(id('speed'), '32')
    await late.page.keyboard.press('Escape')
    await late.page.click(id('play'))
    await late.seesText('# all gone')
    await late.seesOutput('Hello, Ada')
    await late.page.waitForSelector(`${id('playback-driver')}[data-driver="Gus"]`)
    for (const name of ['Hanna', 'Gus']) await late.page.waitForSelector(`${id('playback-people')} >> text=${name}`)
    assert.deepEqual(late.faults, [])
    // From the room one gets there, and back.
    await host.page.click(id('to-playback'))
    await host.page.waitForSelector(id('play'))
    await host.picture('playback-light')
    await host.page.click(id('to-room'))
    await host.connected()
    // A viewer is told that it is not for them; a guest runs what was.
    await scrub(0.97)
    await late.page.click(id('run-again'))
    await late.page.waitForSelector('[role=alert] >> text=viewer')
    await late.page.goto('about:blank') // another token alone is no other address
    await late.page.goto(`${server.url}/r/${room.id}/playback#t=${room.tokens.guest}`)
    await late.page.click(id('run-after'))
    await late.page.click(id('run-again'))
    await host.seesOutput('Who?')
  } finally {
    await late.close()
    await close()
  }
})
