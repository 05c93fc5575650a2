// The page in German: what a browser asks for it gets, everything else is as in English,
// and whoever changes the language loses nothing.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { chromium } from 'playwright-core'
import { liveClient } from './clients.mjs'
import { makeRoom, startServer } from './server.mjs'

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const server = await startServer()
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
after(async () => {
  await browser.close()
  await server.stop()
})

const id = (name) => `[data-testid=${name}]`
const desk = { locale: 'de-DE', viewport: { width: 1280, height: 800 } }
const phone = { locale: 'de-DE', viewport: { width: 360, height: 740 }, hasTouch: true }

async function open(t, address, options) {
  const context = await browser.newContext(options)
  t.after(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const failed = []
  page.on('pageerror', (err) => failed.push(err.message))
  await page.goto(address)
  return { page, failed }
}

/** What axe finds, what sticks out to the side, and what is cut off where words have no ellipsis. */
async function sound(page) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] } }))
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`), [])
  const out = await page.evaluate(() => {
    const found = document.documentElement.scrollWidth > innerWidth ? ['the page'] : []
    for (const el of document.querySelectorAll('button, a, label, h1, h2, h3, select')) {
      const box = el.getBoundingClientRect()
      if (box.width === 0 || el.closest('.sr-only, .spoken, .cm-editor, .tabs') !== null) continue
      // What a container scrolls may lie outside of it.
      const scrolls = (up) => up !== null && (['auto', 'scroll'].includes(getComputedStyle(up).overflowX) || scrolls(up.parentElement))
      if (!scrolls(el.parentElement) && (box.right > innerWidth + 1 || box.left < -1)) found.push(`${el.className} ${el.textContent}`)
      if (el.tagName === 'BUTTON' && el.textContent !== '' && el.scrollWidth > el.clientWidth + 1 && getComputedStyle(el).textOverflow !== 'ellipsis') found.push(`cut: ${el.className} ${el.textContent}`)
    }
    // What stands in a bar ends where the bar does.
    for (const el of document.querySelectorAll('.pane-head > *, .seat > *, .verdict > *, .top-bar > *, .composer-row > *, .status-bar > *')) {
      const box = el.getBoundingClientRect()
      if (box.width > 0 && !el.matches('.sr-only') && box.right > el.parentElement.getBoundingClientRect().right + 1) found.push(`over its bar: ${el.className} ${el.textContent}`)
    }
    return found
  })
  assert.deepEqual(out, [])
}

async function shot(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` })
}

for (const [how, options] of Object.entries({ desk, phone })) {
  test(`the start page in German: ${how}`, async (t) => {
    const { page, failed } = await open(t, server.url, options)
    await page.waitForSelector('input[value=python]')
    assert.equal(await page.getAttribute('html', 'lang'), 'de')
    assert.equal(await page.textContent('h1'), 'Gemeinsam ein Programm schreiben. Ausführen. Dasselbe sehen.')
    assert.equal((await page.textContent(id('new-room'))).trim(), 'Neuer Raum')
    await sound(page)
    await shot(page, `german-start-${how}`)
    assert.deepEqual(failed, [])
  })

  test(`a room with a run in German: ${how}`, async (t) => {
    const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'name = input("Name? ")\nprint("Hallo", name)\nraise SystemExit(3)\n' }] })
    const { page, failed } = await open(t, `${server.url}/r/${room.id}#t=${room.tokens.host}`, options)
    await page.waitForSelector(`${id('connection')}[data-state=connected]`)
    const onPhone = how === 'phone'
    if (onPhone) await page.click('.views button:nth-child(2)')
    await page.click(id('run'))
    await page.waitForSelector(`${id('verdict')}[data-state=running]`)
    await page.waitForFunction(() => document.querySelector('[data-testid=driver]')?.textContent.includes('Tastatur bei Ihnen'))
    await page.waitForFunction(() => document.activeElement?.closest('.terminal') != null)
    await page.keyboard.type('Ada\n')
    await page.waitForSelector(`${id('verdict')}[data-state=finished]`)
    const verdict = await page.textContent(id('verdict'))
    assert.match(verdict, /Beendet/)
    assert.match(verdict, /Exit-Status 3/)
    assert.match(verdict, /\d,\d+ s|\d+ ms/)
    await shot(page, `german-output-${how}`)
    await sound(page)
    if (onPhone) {
      for (const [n, name] of [[1, 'code'], [3, 'room']]) {
        await page.click(`.views button:nth-child(${n})`)
        await shot(page, `german-${name}-${how}`)
        await sound(page)
      }
    }
    for (const panel of ['chat', 'tests', 'notes']) {
      await page.click(id(`open-${panel}`))
      await page.waitForSelector('#dock')
      await shot(page, `german-${panel}-${how}`)
      await sound(page)
      await page.keyboard.press('Escape')
      if (await page.isVisible('#dock')) await page.click(id(`open-${panel}`), { force: true })
    }
    assert.deepEqual(failed, [])
  })
}

test('playback in German', async (t) => {
  const room = await makeRoom(server, { language: 'python' })
  const host = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna' })
  host.send({ type: 'run.start' })
  await host.message('run.exited')
  host.close()
  const { page } = await open(t, `${server.url}/r/${room.id}/playback#t=${room.tokens.viewer}`, phone)
  await page.waitForSelector(id('play'))
  assert.match(await page.textContent('body'), /Pausen überspringen/)
  await shot(page, 'german-playback-phone')
  await sound(page)
})

test('English does without the German words, and they are asked for once', async (t) => {
  const asked = []
  const context = await browser.newContext({ locale: 'en-GB' })
  t.after(() => context.close())
  const page = await context.newPage()
  page.on('request', (r) => asked.push(new URL(r.url()).pathname))
  await page.goto(server.url)
  await page.waitForSelector('input[value=python]')
  assert.equal(await page.getAttribute('html', 'lang'), 'en')
  assert.deepEqual(asked.filter((path) => path.includes('strings-de')), [])
  await page.click(id('look'))
  await page.selectOption(id('page-language'), 'de')
  await page.waitForFunction(() => document.documentElement.lang === 'de')
  assert.equal(asked.filter((path) => path.includes('strings-de')).length, 1)
  await page.reload()
  await page.waitForSelector('input[value=python]')
  assert.equal((await page.textContent(id('new-room'))).trim(), 'Neuer Raum') // the choice is kept
})

test('a change of language loses nothing that was typed', async (t) => {
  const room = await makeRoom(server, { language: 'python' })
  const { page, failed } = await open(t, `${server.url}/r/${room.id}#t=${room.tokens.host}`, { viewport: desk.viewport })
  await page.waitForSelector(`${id('connection')}[data-state=connected]`)
  await page.click(id('open-chat'))
  await page.fill(id('chat-input'), 'half a sentence')
  await page.fill(id('title'), 'half a title')
  await page.click('.cm-content')
  await page.keyboard.type('x = 1')
  const before = await page.evaluate(() => { window.sameNode = document.querySelector('.cm-content'); return window.sameNode.textContent })
  await page.click(id('look'))
  await page.selectOption(id('page-language'), 'de')
  await page.waitForFunction(() => document.querySelector('[data-testid=run]').textContent.includes('Ausführen'))
  assert.equal(await page.inputValue(id('chat-input')), 'half a sentence')
  assert.equal(await page.inputValue(id('title')), 'half a title')
  assert.ok(await page.evaluate((text) => document.querySelector('.cm-content') === window.sameNode && window.sameNode.textContent === text, before))
  assert.match(await page.getAttribute('.cm-content', 'aria-label'), /^Editor, main\.py\. Escape/)
  assert.ok(await page.isVisible(id('page-language'))) // and the choice stays open, with the focus in it
  await page.selectOption(id('page-language'), 'en')
  await page.waitForFunction(() => document.documentElement.lang === 'en')
  assert.equal(await page.inputValue(id('chat-input')), 'half a sentence')
  assert.deepEqual(failed, [])
})
