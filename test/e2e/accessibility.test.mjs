// Every page of Corun's, looked at by axe: WCAG 2.2 AA, in light and dark, at a desk and on a
// phone, with nothing left out.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { chromium } from 'playwright-core'
import { liveClient } from './clients.mjs'
import { makeRoom, startServer } from './server.mjs'

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const levels = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

const server = await startServer()
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
after(async () => {
  await browser.close()
  await server.stop()
})

const looks = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  contrast: { colorScheme: 'light', contrast: 'more' },
  'contrast, dark': { colorScheme: 'dark', contrast: 'more' },
  'forced colours': { colorScheme: 'dark', forcedColors: 'active' },
  phone: { colorScheme: 'dark', viewport: { width: 390, height: 780 }, hasTouch: true },
  zoomed: { colorScheme: 'light', viewport: { width: 640, height: 400 } }, // 200 % of a small screen
}

/** What axe finds wrong with a page; in high contrast all text has 7:1, too. */
async function faults(page, how) {
  await page.evaluate(axe)
  const enhanced = how.startsWith('contrast')
  const { violations } = await page.evaluate(([values, enabled]) =>
    window.axe.run(document, { runOnly: { type: 'tag', values }, rules: { 'color-contrast-enhanced': { enabled } } }), [levels, enhanced])
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id} (${v.help}): ${n.target.join(' ')}: ${n.failureSummary.replaceAll('\n', ' ')}`))
}

/** Opens an address in each look, brings it to a state, and looks at it. */
function look(name, address, state, ways = Object.keys(looks)) {
  for (const [how, options] of Object.entries(looks).filter(([how]) => ways.includes(how))) {
    test(`${name}: ${how}`, async () => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
      try {
        const page = await context.newPage()
        page.setDefaultTimeout(20_000)
        await page.goto(address)
        await state(page)
        assert.deepEqual(await faults(page, how), [])
        if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}, ${how}.png`.replaceAll(' ', '-') })
        // Nothing is cut off to the side.
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways')
      } finally { await context.close() }
    })
  }
}

const id = (name) => `[data-testid=${name}]`
const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'import sys\nprint("out")\nsys.exit(3)\n' }, { path: 'lib/other.py', content: '' }] })
const host = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna' })
host.send({ type: 'run.start' })
await host.message('run.exited')
host.close()

const tested = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'print(input()[::-1])\n' }] })
const authed = { method: 'PUT', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${tested.tokens.host}` } }
const put = await fetch(`${server.url}/api/v1/rooms/${tested.id}/tests`, { ...authed, body: JSON.stringify({ cases: [
  { name: 'turned round', stdin: 'abc\n', expected: 'cba\n', points: 2 }, { name: 'as it is', stdin: 'abc\n', expected: 'abc\n', points: 1 },
] }) })
assert.ok(put.ok, await put.text())
const tester = await liveClient(server, tested.id, tested.tokens.host, { name: 'Hanna' })
tester.send({ type: 'run.start', mode: 'tests' })
await tester.message('run.exited')
tester.close()

look('the start page', server.url, (page) => page.waitForSelector('input[value=python]'))
for (const role of ['host', 'guest', 'viewer']) {
  look(`a room, as ${role}`, `${server.url}/r/${room.id}#t=${room.tokens[role]}`, async (page) => {
    await page.waitForSelector(`${id('connection')}[data-state=connected]`)
    await page.waitForSelector(`${id('verdict')}[data-state=finished]`, { state: 'attached' })
  }, role === 'host' ? Object.keys(looks) : ['light', 'phone'])
}
look('the share panel', `${server.url}/r/${room.id}#t=${room.tokens.host}`, async (page) => {
  await page.waitForSelector(`${id('connection')}[data-state=connected]`)
  await page.click(id('share'))
}, ['light', 'phone'])
look('playback', `${server.url}/r/${room.id}/playback#t=${room.tokens.viewer}`, (page) => page.waitForSelector(id('play')))
look('the tests panel', `${server.url}/r/${tested.id}#t=${tested.tokens.host}`, async (page) => {
  await page.waitForSelector(`${id('connection')}[data-state=connected]`)
  await page.click(id('open-tests'))
  await page.waitForSelector(`${id('test-row')}[data-state=failed]`)
  await page.click(`${id('test-row')}[data-state=failed] button`)
}, ['light', 'contrast', 'contrast, dark', 'phone'])
look('the appearance', `${server.url}/r/${room.id}#t=${room.tokens.host}`, async (page) => {
  await page.waitForSelector(`${id('connection')}[data-state=connected]`)
  await page.click(id('look'))
  await page.selectOption(id('theme'), 'contrast')
}, ['light', 'phone'])
look('a link that leads nowhere', `${server.url}/r/${room.id}#t=wrong`, (page) => page.waitForSelector(id('ending')), ['dark'])
look('a playback that cannot be had', `${server.url}/r/${room.id}/playback#t=wrong`, (page) => page.waitForSelector(id('playback-failed')), ['dark'])
