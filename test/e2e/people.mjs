// People at the page in real Chromium, each with a browser profile of their own, for
// a file of tests: its server and its browser begin and end with it. SCREENSHOTS=dir
// keeps pictures.
import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { chromium } from 'playwright-core'
import { startServer } from './server.mjs'

const flags = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const pictures = process.env.SCREENSHOTS
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const levels = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const hues = { Hanna: 250, Gus: 25, Vera: 120 }

/** What the page calls a thing for tests. */
export const id = (name) => `[data-testid=${name}]`

export const launch = (...args) => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...flags, ...args] })

/** The server and the browser of a file of tests, there once its tests run. */
export function stage() {
  const here = { server: null, browser: null }
  before(async () => {
    here.server = await startServer()
    here.browser = await launch('--disable-gpu')
    if (pictures) await mkdir(pictures, { recursive: true })
  })
  after(async () => {
    await here.browser?.close()
    await here.server?.stop()
  })
  return here
}

/** One person who has given a name; init runs in the page before its own scripts. */
export async function person(browser, name, { init, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ['clipboard-read', 'clipboard-write'], ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const faults = []
  page.on('pageerror', (err) => faults.push(err.message))
  // A policy that blocks something of ours shows here and nowhere else; questions are asked by the page itself.
  page.on('console', (msg) => { if (/Content Security Policy/.test(msg.text())) faults.push(msg.text()) })
  page.on('dialog', (dialog) => {
    faults.push(`the browser asks: ${dialog.message()}`)
    void dialog.dismiss()
  })
  await page.addInitScript(([n, hue]) => {
    localStorage.setItem('corun.identity', JSON.stringify({ name: n, hue, chosen: true }))
    /** The editor's text as its lines show it, without other people's labels. */
    window.editorText = () => [...document.querySelectorAll('.editor-pane .cm-line')].map((line) => {
      const copy = line.cloneNode(true)
      copy.querySelectorAll('.remote-caret').forEach((caret) => caret.remove())
      return copy.textContent
    }).join('\n')
  }, [name, hues[name] ?? 200])
  if (init) await page.addInitScript(init)
  return {
    page,
    faults,
    close: () => context.close(),
    picture: async (file) => { if (pictures) await page.screenshot({ path: join(pictures, `${file}.png`) }) },
    goto: (server, room, role) => page.goto(`${server.url}/r/${room.id}#t=${room.tokens[role]}`),
    connected: () => page.waitForSelector(`${id('connection')}[data-state=connected]`),
    saved: () => page.waitForSelector(`${id('saved')}[data-state=saved]`),
    text: () => page.evaluate(() => window.editorText()),
    seesText: (text) => page.waitForFunction((want) => window.editorText().includes(want), text),
    seesNoText: (text) => page.waitForFunction((not) => !window.editorText().includes(not), text),
    key: async (...keys) => { for (const key of keys) await page.keyboard.press(key) },
    /** Waits until something in the page has the focus. */
    focused: (selector) => page.waitForFunction((want) => document.activeElement?.matches(want), selector),
    /** Answers the page's question, and gives its words. */
    answers: async (yes) => {
      await page.waitForSelector(`${id('question')}[open]`)
      const words = await page.textContent('#question')
      await page.click(id(yes ? 'question-yes' : 'question-no'))
      await page.waitForSelector(id('question'), { state: 'detached' })
      return words
    },
    /** Nothing that axe finds, with nothing left out. */
    accessible: async (what = '') => {
      await page.evaluate(axe)
      const { violations } = await page.evaluate((values) => window.axe.run(document, { runOnly: { type: 'tag', values } }), levels)
      assert.deepEqual(violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${n.failureSummary.replaceAll('\n', ' ')}`)), [], what)
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what}: the page scrolls sideways`)
    },
  }
}
