// Format on demand: the API with real formatters, and the page, in which the formatted text is
// an edit of whoever asked.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { makeRoom, startServer } from './server.mjs'

let server
let browser
before(async () => {
  server = await startServer()
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

const id = (name) => `[data-testid=${name}]`
const ugly = 'def f( a,b ):\n  return a+b\n\n\n\nprint(f( 1,2 ))\n'
const neat = 'def f(a, b):\n    return a + b\n\n\nprint(f(1, 2))\n'

async function ask(room, token, body) {
  const answer = await fetch(`${server.url}/api/v1/rooms/${room.id}/format`, {
    method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }, body: JSON.stringify(body),
  })
  return { status: answer.status, headers: answer.headers, body: await answer.json() }
}

test('a file of a room is formatted, and the room stays as it is', async () => {
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: ugly }, { path: 'lib/a.go', content: 'package a\nvar  x=1\n' }] })
  const done = await ask(room, room.tokens.guest, { file: 'main.py' })
  assert.deepEqual([done.status, done.body], [200, { file: 'main.py', language: 'python', content: neat, changed: true }])
  const go = await ask(room, room.tokens.host, { file: 'lib/a.go' })
  assert.deepEqual(go.body, { file: 'lib/a.go', language: 'go', content: 'package a\n\nvar x = 1\n', changed: true })
  // An editor is ahead of what the server has.
  assert.deepEqual((await ask(room, room.tokens.host, { file: 'main.py', content: 'x = 1\n' })).body, { file: 'main.py', language: 'python', content: 'x = 1\n', changed: false })
  const { files } = await (await fetch(`${server.url}/api/v1/rooms/${room.id}/files`, { headers: { Authorization: `Bearer ${room.tokens.viewer}` } })).json()
  assert.equal(files.find((f) => f.path === 'main.py').content, ugly)
})

test('what cannot be formatted is refused with a reason', async () => {
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'a = 1\n\ndef f(:\n' }, { path: 'a.lua', content: 'x=1' }, { path: 'a.sh', content: 'echo  a\n' }] })
  const broken = await ask(room, room.tokens.guest, { file: 'main.py' })
  assert.equal(broken.status, 422)
  assert.equal(broken.body.line, 3)
  assert.match(broken.body.detail, /cannot read the file/)
  assert.equal((await ask(room, room.tokens.guest, { file: 'a.lua' })).status, 409)
  assert.equal((await ask(room, room.tokens.viewer, { file: 'main.py' })).status, 403)
  assert.equal((await ask(room, room.tokens.guest, { file: 'gone.py' })).status, 404)
  const large = await ask(room, room.tokens.guest, { file: 'main.py', content: '#\n'.repeat(600_000) })
  assert.deepEqual([large.status, large.body.field], [413, 'file'])
  // A minute has 60 for a room, and they come faster than that lets go.
  const many = await Promise.all(Array.from({ length: 80 }, () => ask(room, room.tokens.guest, { file: 'a.sh' })))
  const refused = many.filter((answer) => answer.status !== 200)
  assert.ok(refused.length > 0)
  for (const answer of refused) {
    assert.equal(answer.status, 429)
    assert.ok(Number(answer.headers.get('Retry-After')) >= 1)
  }
})

/** One person in a room. */
async function person(t, room, role, name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  t.after(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  await page.addInitScript((n) => {
    localStorage.setItem('corun.identity', JSON.stringify({ name: n, hue: 200, chosen: true }))
    window.editorText = () => [...document.querySelectorAll('.cm-line')].map((line) => {
      const copy = line.cloneNode(true)
      copy.querySelectorAll('.remote-caret').forEach((caret) => caret.remove())
      return copy.textContent
    }).join('\n')
  }, name)
  await page.goto(`${server.url}/r/${room.id}#t=${room.tokens[role]}`)
  await page.waitForSelector(`${id('connection')}[data-state=connected]`)
  const sees = (text) => page.waitForFunction((want) => window.editorText?.() === want, text)
  return { page, sees }
}

test('the page formats by a key, others see it, and one undo takes it back', async (t) => {
  await server.restart() // the quota of this address is used up
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: ugly }] })
  const host = await person(t, room, 'host', 'Hanna')
  const guest = await person(t, room, 'guest', 'Gus')
  await guest.sees(ugly)
  // The guest's cursor is before "print", and stays there.
  await guest.page.click('.cm-content')
  await guest.page.keyboard.press('Control+End')
  await guest.page.keyboard.press('ArrowUp')
  await guest.page.keyboard.press('Home')
  await host.page.waitForSelector('.remote-caret')
  await host.page.click('.cm-content')
  await host.page.keyboard.press('Control+Home')
  await host.page.keyboard.type('# mine\n')
  await guest.sees(`# mine\n${ugly}`)
  await host.page.keyboard.press('Alt+Shift+F')
  await host.sees(`# mine\n${neat}`)
  await guest.sees(`# mine\n${neat}`)
  await guest.page.keyboard.type('x')
  await host.sees(`# mine\n${neat.replace('print', 'xprint')}`)
  await host.page.keyboard.press('Control+Z')
  await guest.sees(`# mine\n${ugly.replace('print', 'xprint')}`)
  await host.page.keyboard.press('Control+Z')
  await guest.sees(ugly.replace('print', 'xprint'))
  await host.page.keyboard.press('Control+Y')
  await host.page.keyboard.press('Control+Y')
  await guest.sees(`# mine\n${neat.replace('print', 'xprint')}`)
})

test('what is typed while the formatter is at work stays', async (t) => {
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: ugly }] })
  const host = await person(t, room, 'host', 'Hanna')
  const guest = await person(t, room, 'guest', 'Gus')
  await guest.sees(ugly)
  // The answer is held back until the guest has typed.
  let go
  const typed = new Promise((resolve) => { go = resolve })
  await host.page.route('**/format', async (route) => {
    const answer = await route.fetch()
    await typed
    await route.fulfill({ response: answer })
  })
  await host.page.click(id('format'))
  await host.page.waitForSelector(`${id('format')}[aria-busy=true]`)
  await guest.page.click('.cm-content')
  await guest.page.keyboard.press('Control+Home')
  await guest.page.keyboard.type('# first\n')
  await guest.page.keyboard.press('Control+End')
  await guest.page.keyboard.type('# last')
  await host.sees(`# first\n${ugly}# last`)
  go()
  await host.sees(`# first\n${neat}# last`)
  await guest.sees(`# first\n${neat}# last`)
  await host.page.waitForSelector(`${id('format')}[aria-busy=false]`)
})

test('where nothing formats, or the text is broken, the page says so and changes nothing', async (t) => {
  const room = await makeRoom(server, { language: 'python', files: [{ path: 'main.py', content: 'def f(:\n' }, { path: 'a.lua', content: 'x=1\n' }] })
  const host = await person(t, room, 'host', 'Hanna')
  await host.sees('def f(:\n')
  await host.page.click(id('format'))
  await host.page.waitForFunction(() => /cannot read the file.*1:/s.test(document.querySelector('[data-testid=notice]')?.textContent ?? ''))
  await host.sees('def f(:\n')
  await host.page.click('[role=treeitem]:has-text("a.lua")')
  await host.sees('x=1\n')
  assert.equal(await host.page.getAttribute(id('format'), 'aria-disabled'), 'true')
  assert.match(await host.page.getAttribute(id('format'), 'title'), /no formatter for Lua/)
  await host.page.keyboard.press('Alt+Shift+F')
  await host.page.waitForFunction(() => /no formatter for Lua/.test(document.querySelector('[data-testid=notice]')?.textContent ?? ''))
  const viewer = await person(t, room, 'viewer', 'Vera')
  await viewer.page.waitForSelector('.cm-content')
  assert.equal(await viewer.page.$(id('format')), null)
})
