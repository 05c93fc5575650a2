// Runs on the page: their options, how old output is, the way from output to code, the
// terminal, what compilers say, the history of runs, the seat.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as people from './people.mjs'
import { id } from './people.mjs'
import { makeRoom, startServer } from './server.mjs'

const stage = people.stage()

/** Somebody at a room's page, connected. */
async function person(room, role, name, { from = stage.browser, on = stage.server, ...options } = {}) {
  const who = await people.person(from, name, options)
  const { page } = who
  await who.goto(on, room, role)
  await who.connected()
  const rows = '.run-pane .xterm-rows > div'
  return {
    ...who,
    seesOutput: (text) => page.waitForFunction(([at, want]) => [...document.querySelectorAll(at)].some((row) => row.textContent.includes(want)), [rows, text]),
    output: () => page.$$eval(rows, (all) => all.map((row) => row.textContent.trimEnd()).join('\n').trimEnd()),
    verdict: (status) => page.waitForSelector(`.run-pane ${id('verdict')}[data-state=finished][data-status=${status}]`),
    running: () => page.waitForSelector(`${id('verdict')}[data-state=running]`),
    driver: (name) => page.waitForSelector(`${id('driver')}[data-driver="${name}"]`),
    /** The texts of the lines that are marked, each found by where its mark stands. */
    marked: (kind) => page.evaluate((mark) => [...document.querySelectorAll(`.line-mark-${mark}`)].map((m) => {
      const { top, height } = m.getBoundingClientRect()
      return [...document.querySelectorAll('.editor-pane .cm-line')].find((line) => Math.abs(line.getBoundingClientRect().top - top) < height / 2)?.textContent ?? null
    }), kind),
    age: (edits) => page.waitForSelector(`${id('run-age')}[data-edits="${edits}"]`, { state: 'attached' }),
    /** The line of the editor in which the cursor is, once that is the one that is wanted. */
    atLine: (text) => page.waitForFunction((want) => document.activeElement?.matches('.cm-content') && document.querySelector('.cm-activeLine')?.textContent === want, text),
  }
}

/** A host and a guest in a new room with files. */
async function pair(files, language = 'python') {
  const room = await makeRoom(stage.server, { language, files: Object.entries(files).map(([path, content]) => ({ path, content })) })
  const host = await person(room, 'host', 'Hanna')
  const guest = await person(room, 'guest', 'Gus', { colorScheme: 'dark', viewport: { width: 1440, height: 900 } })
  return {
    room, host, guest,
    close: async () => {
      await Promise.all([host.close(), guest.close()])
      assert.deepEqual([...host.faults, ...guest.faults], [])
    },
  }
}

const echo = 'import sys\nprint("args", sys.argv[1:])\nprint("terminal", sys.stdin.isatty())\nprint("read", repr(sys.stdin.read()) if not sys.stdin.isatty() else "")\n'

test('run options: entry, arguments, pipes with an input; kept for the room in this browser', async () => {
  const { host, guest, close } = await pair({ 'main.py': echo, 'other.py': 'print("the other file")\n' })
  try {
    await host.page.click(id('run-options'))
    await host.page.fill(id('run-args'), `-n 3 "two words`)
    await host.page.waitForSelector(`${id('run-args-split')} >> text=is not closed`)
    // What cannot be split starts nothing, and says why.
    await host.page.keyboard.press('Control+Enter')
    await host.page.waitForSelector(`${id('notice')} >> text=arguments of the run options`)
    await host.page.fill(id('run-args'), `-n 3 "two words"`)
    assert.match(await host.page.textContent(id('run-args-split')), /3 arguments:.*-n.*3.*two words/)
    await host.page.check(id('run-mode-pipes'))
    await host.page.fill(id('run-stdin'), 'one\ntwo\n')
    await host.picture('run-options-light')
    await host.accessible()
    await host.page.keyboard.press('Control+Enter')
    await guest.seesOutput(`read 'one\\ntwo\\n'`)
    assert.match(await guest.output(), /args \['-n', '3', 'two words'\]\nterminal False/)
    await host.verdict('exited')
    assert.match(await host.page.getAttribute(id('run-options'), 'title'), /3 arguments, Pipes/)

    // They are this person's alone, and last.
    await guest.page.click(id('run-options'))
    assert.equal(await guest.page.inputValue(id('run-args')), '')
    await guest.picture('run-options-dark')
    await guest.accessible()
    await guest.page.selectOption(id('run-entry'), 'other.py')
    await guest.page.keyboard.press('Escape')
    await guest.focused(id('run-options'))
    await guest.page.keyboard.press('Control+Enter')
    await host.seesOutput('the other file')
    await host.verdict('exited')
    await host.page.reload()
    await host.page.waitForSelector(`${id('connection')}[data-state=connected]`)
    await host.seesOutput('the other file')
    await host.page.keyboard.press('Control+Enter')
    await guest.seesOutput(`args ['-n', '3', 'two words']`)
    await host.verdict('exited')
    await host.page.click(id('run-options'))
    await host.page.click(id('run-options-reset'))
    await host.page.click(id('run'))
    await guest.seesOutput('args []')
    await guest.seesOutput('terminal True')
  } finally { await close() }
})

const broken = 'def half(x):\n    return x / 0\n\nprint("before")\nhalf(1)\n'

test('output says how old it is; its lines lead to where the code is now', async () => {
  const { room, host, guest, close } = await pair({ 'main.py': broken, 'notes.txt': 'nothing\n' })
  try {
    await host.page.click(id('run'))
    await host.verdict('exited')
    await guest.seesOutput('line 2, in half')
    for (const who of [host, guest]) await who.age(0)
    assert.equal(await host.page.locator('.line-mark-changed').count(), 0)

    // Two lines above, typed by the guest: both see how old the output is, and which lines are new.
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+Home')
    await guest.page.keyboard.insertText('# new\n')
    await guest.page.keyboard.insertText('# newer\n')
    await guest.page.keyboard.type('# ')
    for (const who of [host, guest]) {
      await who.page.waitForSelector(`${id('run-age')} >> text=Output is 4 edits old`)
      await who.page.waitForFunction(() => document.querySelectorAll('.line-mark-changed').length === 3)
    }
    assert.deepEqual(await guest.marked('changed').then((lines) => lines.map((line) => line?.slice(0, 2))), ['# ', '# ', '# '])
    await host.picture('stale-light')
    await guest.picture('stale-dark')
    await guest.accessible()

    // From the list, by the keyboard alone, to where the line is today.
    await host.page.click(`${id('files')} >> text=notes.txt`)
    await host.seesText('nothing')
    await host.page.focus(id('places'))
    await host.page.keyboard.press('Enter')
    await host.page.waitForSelector(`${id('places-list')} >> text=main.py, line 2`)
    await host.picture('places-light')
    await host.accessible()
    assert.deepEqual(await host.page.$$eval(`${id('places-list')} b`, (all) => all.map((b) => b.textContent)), ['main.py, line 2', 'main.py, line 5'])
    await host.page.keyboard.press('ArrowDown')
    await host.page.keyboard.press('Enter')
    await host.atLine('half(1)')
    // By the mouse, in the terminal itself.
    const row = host.page.locator('.run-pane .xterm-rows > div', { hasText: 'line 2, in half' })
    const box = await row.boundingBox()
    await host.page.mouse.move(box.x + 60, box.y + box.height / 2)
    await host.page.waitForSelector('.xterm-cursor-pointer')
    await host.page.mouse.click(box.x + 60, box.y + box.height / 2)
    await host.atLine('    return x / 0')

    // Who comes late is told the same; the code as it ran is no old code.
    const late = await person(room, 'viewer', 'Vera')
    try {
      await late.age(4)
      await late.page.waitForFunction(() => document.querySelectorAll('.line-mark-changed').length === 3)
    } finally { await late.close() }
    await guest.page.keyboard.press('Control+Home')
    for (let n = 0; n < 2; n++) await guest.page.keyboard.press('Shift+ArrowDown')
    await guest.page.keyboard.press('Shift+ArrowRight')
    await guest.page.keyboard.press('Shift+ArrowRight')
    await guest.page.keyboard.press('Delete')
    for (const who of [host, guest]) {
      await who.age(0)
      await who.page.waitForFunction(() => document.querySelectorAll('.line-mark-changed').length === 0)
    }
    await guest.page.keyboard.type('x')
    await host.age(6)
    // A new run is of the present code.
    await guest.saved()
    await guest.page.keyboard.press('Control+Enter')
    await host.verdict('exited')
    for (const who of [host, guest]) await who.age(0)
  } finally { await close() }
})

test('how old output is stays right when the connection was lost, also for who was away', async () => {
  const { host, guest, close } = await pair({ 'main.py': broken })
  try {
    await host.page.click(id('run'))
    await host.verdict('exited')
    await guest.verdict('exited')
    await stage.server.kill()
    for (const who of [host, guest]) await who.page.waitForSelector(`${id('connection')}[data-state=reconnecting]`)
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Control+Home')
    await host.page.keyboard.insertText('# away\n')
    await host.age(1)
    await stage.server.start()
    for (const who of [host, guest]) {
      await who.page.waitForSelector(`${id('connection')}[data-state=connected]`)
      await who.seesText('# away')
      await who.age(1)
      await who.page.waitForFunction(() => document.querySelectorAll('.line-mark-changed').length === 1)
    }
    await guest.page.click(id('places'))
    await guest.page.click(`${id('places-list')} >> text=main.py, line 5`)
    await guest.atLine('half(1)')
  } finally { await close() }
})

test('a run that waits says for how many', async () => {
  const narrow = await startServer({ args: ['--max-running', '1'] })
  const first = await makeRoom(narrow, { language: 'python', files: [{ path: 'main.py', content: 'input()\n' }] })
  const rooms = [await makeRoom(narrow), await makeRoom(narrow)]
  const ada = await person(first, 'host', 'Hanna', { on: narrow })
  const others = [await person(rooms[0], 'host', 'Gus', { on: narrow }), await person(rooms[1], 'host', 'Vera', { on: narrow })]
  try {
    await ada.page.click(id('run'))
    await ada.running()
    await others[0].page.click(id('run'))
    await others[0].page.waitForSelector(`${id('run-state')} >> text=Waiting: next in line`)
    await others[1].page.click(id('run'))
    await others[1].page.waitForSelector(`${id('run-state')} >> text=Waiting: 1 before this one`)
    await others[0].page.click(id('stop'))
    await others[1].page.waitForSelector(`${id('run-state')} >> text=Waiting: next in line`)
    await others[1].picture('waiting-light')
    await ada.page.click(id('stop'))
    await others[1].verdict('exited')
    assert.equal(await others[1].page.textContent(id('run-state')), '')
  } finally {
    await Promise.all([ada, ...others].map((who) => who.close()))
    await narrow.stop()
  }
})

test('on a phone: from the output to the line, and nothing is cut off', async () => {
  const { room, host, close } = await pair({ 'main.py': broken })
  const phone = await person(room, 'guest', 'Vera', { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true })
  try {
    await host.page.click(id('run'))
    await host.verdict('exited')
    await phone.page.tap('.views >> text=Output')
    await phone.verdict('exited')
    await phone.seesOutput('line 2, in half')
    await phone.picture('phone-output')
    await phone.accessible()
    for (const [button, panel] of [['run-options', '.run-options-panel'], ['places', id('places-list')]]) {
      await phone.page.tap(id(button))
      const box = await phone.page.locator(panel).boundingBox()
      assert.ok(box.x >= 0 && box.x + box.width <= 390, `${button} stands at ${box.x}, ${box.width} wide`)
      await phone.picture(`phone-${button}`)
      if (button === 'run-options') await phone.page.keyboard.press('Escape')
    }
    await phone.page.tap(`${id('places-list')} >> text=main.py, line 2`)
    await phone.page.waitForSelector('.room[data-view=code]')
    await phone.atLine('    return x / 0')
    await phone.page.tap('.views >> text=Output')
    await phone.page.tap(id('run-history'))
    await phone.page.waitForSelector(id('runs-verdict'))
    await phone.picture('phone-runs')
    await phone.accessible()
    assert.ok(await phone.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways')
    assert.deepEqual(phone.faults, [])
  } finally { await Promise.all([close(), phone.close()]) }
})

test('what a compiler says stands in the code, until the next run', async () => {
  const { host, guest, close } = await pair({ 'main.c': '#include <stdio.h>\nint main(void) {\n  puts("hi")\n  return 0;\n}\n' }, 'c')
  try {
    await host.page.click(id('run'))
    await Promise.all([host.verdict('compile_failed'), guest.verdict('compile_failed')])
    for (const who of [host, guest]) await who.page.waitForSelector('.cm-lintRange-error')
    assert.deepEqual(await host.marked('problem'), ['  puts("hi")'])
    assert.match(await host.page.textContent(id('verdict')), /Did not compile/)
    await host.page.click('.cm-content')
    await host.page.keyboard.press('F8')
    await host.page.waitForSelector('.cm-panel-lint >> text=expected')
    await host.picture('compile-error-light')
    await host.accessible()
    await host.page.keyboard.press('Escape')
    await host.page.waitForSelector('.cm-panel-lint', { state: 'detached' })
    await host.page.click(`${id('problems')} >> text=1 problem in the code`)
    await host.atLine('  puts("hi")')
    await host.page.keyboard.press('Control+Home') // the host's cursor, which stood before the mark, has a name to hover as well
    await guest.page.hover('.cm-lintRange-error')
    await guest.page.waitForSelector('.cm-diagnostic-error >> text=expected')
    await guest.picture('compile-error-dark')
    // It is in the right line, also for who comes later and when there are others above.
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+Home')
    await guest.page.keyboard.insertText('// above\n')
    await host.seesText('// above')
    const lineOf = (who) => who.page.$eval('.cm-lintRange-error', (mark) => mark.closest('.cm-line').textContent)
    assert.match(await lineOf(host), /puts/)
    await guest.saved()
    await host.page.reload()
    await host.page.waitForSelector('.cm-lintRange-error')
    assert.match(await lineOf(host), /puts/)
    await guest.page.keyboard.press('Control+Home')
    await guest.page.keyboard.press('Control+A')
    await guest.page.keyboard.insertText('int main(void) { return 4; }\n')
    await guest.saved()
    await guest.page.keyboard.press('Control+Enter')
    await host.verdict('exited')
    assert.match(await host.page.textContent(id('verdict')), /exit status 4/)
    assert.match(await host.page.textContent(id('cpu')), /CPU/)
    for (const who of [host, guest]) await who.page.waitForFunction(() => document.querySelector('.cm-lintRange-error, .line-mark-problem') === null)
  } finally { await close() }
})

test('the terminal: who types, find, copy, clear, links of the web', async () => {
  const { host, guest, close } = await pair({ 'main.py': 'for n in range(60): print("line", n)\nprint("see http://127.0.0.1:9/there now")\ninput("name? ")\n' })
  try {
    await host.page.click(id('run'))
    await host.running()
    for (const who of [host, guest]) await who.seesOutput('name?')
    assert.match(await host.page.textContent(id('who-types')), /What you type here goes to the program/)
    await guest.page.waitForSelector(`${id('who-types')} >> text=only Hanna types into the program`)
    await guest.page.waitForSelector('.terminal-frame[data-watch=true]')
    await guest.picture('watching-dark')

    // Find: Ctrl+F where the terminal has the focus, Escape back to it.
    await guest.page.click(id('terminal'))
    await guest.page.keyboard.press('Control+F')
    await guest.focused(id('find-text'))
    await guest.page.keyboard.type('line 3')
    await guest.page.waitForFunction((found) => /of 11$/.test(document.querySelector(found).textContent), id('found'))
    const first = await guest.page.textContent(id('found'))
    await guest.page.keyboard.press('Enter')
    await guest.page.waitForFunction(([found, was]) => document.querySelector(found).textContent !== was, [id('found'), first])
    await guest.picture('find-dark')
    await guest.accessible()
    await guest.page.keyboard.type('x')
    await guest.page.waitForSelector(`${id('found')} >> text=Nothing found`)
    await guest.page.keyboard.press('Escape')
    await guest.page.waitForSelector(id('find-bar'), { state: 'detached' })
    await guest.focused('.xterm-helper-textarea')

    await host.page.click(id('copy-output'))
    await host.page.waitForSelector(`${id('notice')} >> text=The output was copied`)
    const copied = await host.page.evaluate(() => navigator.clipboard.readText())
    assert.match(copied, /^line 0\nline 1\n/)
    assert.match(copied, /line 59\nsee http:\/\/127\.0\.0\.1:9\/there now\nname\?/)

    // An address opens elsewhere, without a way back to this page.
    const row = host.page.locator('.run-pane .xterm-rows > div', { hasText: 'http://' })
    const box = await row.boundingBox()
    await host.page.mouse.move(box.x + 80, box.y + box.height / 2)
    await host.page.waitForSelector('.xterm-cursor-pointer')
    const [opened] = await Promise.all([host.page.context().waitForEvent('page'), host.page.mouse.click(box.x + 80, box.y + box.height / 2)])
    assert.equal(await opened.evaluate(() => window.opener), null)
    await opened.close()

    // For a screen reader, when it is asked for: the text is there to be read, and stays so.
    await guest.page.focus(id('places'))
    await guest.page.keyboard.press('Shift+Tab')
    await guest.focused(id('spoken'))
    assert.equal(await guest.page.locator('.xterm-accessibility').count(), 0)
    await guest.page.keyboard.press('Enter')
    await guest.page.waitForSelector('.xterm-accessibility-tree >> text=line 3', { state: 'attached' })
    await guest.picture('spoken-dark')
    await guest.accessible()
    await guest.page.reload()
    await guest.page.waitForSelector('.xterm-accessibility-tree >> text=name?', { state: 'attached' })

    await host.page.click(id('clear'))
    await host.page.waitForFunction(() => ![...document.querySelectorAll('.xterm-rows > div')].some((r) => r.textContent.startsWith('line')))
    await guest.seesOutput('line 59') // theirs is theirs
    await host.page.click(id('terminal'))
    await host.page.keyboard.type('me\n')
    await host.verdict('exited')
    assert.equal(await host.page.textContent(id('who-types')), '')
  } finally { await close() }
})

test('the terminal is drawn by WebGL where there is one, and goes on when that is lost', async () => {
  const withGL = await people.launch('--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader')
  const room = await makeRoom(stage.server, { language: 'python', files: [{ path: 'main.py', content: 'print("drawn")\n' }] })
  // What a processor draws counts as a graphics card here.
  const host = await person(room, 'host', 'Hanna', {
    from: withGL,
    init: () => {
      const original = HTMLCanvasElement.prototype.getContext
      window.contexts = []
      HTMLCanvasElement.prototype.getContext = function (kind, options) {
        const context = original.call(this, kind, { ...options, failIfMajorPerformanceCaveat: false })
        if (kind === 'webgl2') window.contexts.push(context)
        return context
      }
      const parameter = WebGL2RenderingContext.prototype.getParameter
      WebGL2RenderingContext.prototype.getParameter = function (name) {
        const value = parameter.call(this, name)
        return typeof value === 'string' ? value.replace(/SwiftShader/g, 'A card') : value
      }
    },
  })
  try {
    await host.page.hover(id('run')) // the terminal comes when the page is touched
    await host.page.waitForSelector(`${id('terminal')}[data-renderer=webgl]`)
    await host.page.click(id('run'))
    await host.verdict('exited')
    assert.equal(await host.page.locator('.xterm-rows').count(), 0)
    await host.picture('webgl')
    await host.page.evaluate(() => window.contexts.at(-1).getExtension('WEBGL_lose_context').loseContext())
    await host.page.waitForSelector(`${id('terminal')}[data-renderer=dom]`)
    await host.seesOutput('drawn')
    assert.deepEqual(host.faults, [])
  } finally { await withGL.close() }
})

test('the history of runs: what was printed, the code then and since, and both again', async () => {
  const { host, guest, close } = await pair({ 'main.py': 'print("first version")\n' })
  try {
    await host.page.click(id('run-history'))
    await host.page.waitForSelector(`${id('runs')} >> text=Nothing was run here yet.`)
    await host.page.keyboard.press('Escape')
    await host.focused(id('run-history'))
    await host.page.click(id('run'))
    await host.verdict('exited')
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+A')
    await guest.page.keyboard.insertText('print("second version")\nraise SystemExit(3)\n')
    await guest.saved()
    await guest.page.click(id('run'))
    await guest.seesOutput('second version')
    await guest.verdict('exited')
    await host.verdict('exited')

    // By the keyboard: the newest first, arrows to the one before.
    await host.page.focus(id('run-history'))
    await host.page.keyboard.press('Enter')
    await host.page.waitForSelector(`${id('runs-entry')}[data-run="2"][aria-current=true]`)
    const entries = await host.page.$$eval(id('runs-entry'), (all) => all.map((e) => e.textContent))
    assert.match(entries[0], /Run 2: Finished, exit status 3Gus, .*Python, main\.py/)
    assert.match(entries[1], /Run 1: Finished.*Hanna, /)
    await host.focused(`${id('runs-entry')}[data-run="2"]`)
    await host.page.keyboard.press('ArrowDown')
    await host.page.waitForSelector(`${id('runs-details')}[data-run="1"]`)
    const printed = (text) => host.page.waitForFunction((want) => [...document.querySelectorAll('[data-testid=runs-terminal] .xterm-rows > div')].some((row) => row.textContent.includes(want)), text)
    await printed('first version')
    assert.match(await host.page.textContent(id('runs-verdict')), /Finished.*exit status 0/)
    await host.picture('runs-output-light')
    await host.accessible()
    await host.page.click(id('runs-code'))
    await host.page.waitForSelector(`${id('runs-code-then')} >> text=first version`)
    await host.page.click(id('runs-changes'))
    await host.page.waitForSelector(`${id('runs-diff')} .cm-merge-a >> text=first version`)
    await host.page.waitForSelector(`${id('runs-diff')} .cm-merge-b >> text=second version`)
    await host.picture('runs-changes-light')
    await host.accessible()
    await guest.page.click(id('run-history'))
    await guest.page.click(`${id('runs-entry')}[data-run="1"]`)
    await guest.page.click(id('runs-changes'))
    await guest.page.waitForSelector(`${id('runs-diff')} .cm-merge-b >> text=second version`)
    await guest.picture('runs-changes-dark')
    await guest.accessible()
    await guest.page.click(`${id('runs-entry')}[data-run="2"]`)
    await guest.page.click(id('runs-changes'))
    await guest.page.waitForSelector(`${id('runs-nothing')} >> text=The code is as it was.`)

    // That code again: the room's code stays as it is, and the output says how old it is.
    await host.page.click(id('runs-then'))
    await host.seesOutput('first version')
    await host.verdict('exited')
    await host.page.waitForFunction((age) => Number(document.querySelector(age).dataset.edits) > 0, id('run-age'))
    await host.seesText('second version')
    // Who has the list open sees the new run come.
    await guest.page.waitForSelector(`${id('runs-entry')}[data-run="3"]`)
    assert.equal(await guest.page.getAttribute(id('runs-details'), 'data-run'), '2', 'and goes on with what they look at')
    await guest.page.click(`${id('runs-entry')}[data-run="1"]`)
    await guest.page.click(id('runs-now'))
    await host.seesOutput('second version')
    await host.verdict('exited')
    await host.age(0)
  } finally { await close() }
})

test('from the output of a former run to where its line is now', async () => {
  const { host, guest, close } = await pair({ 'main.py': broken })
  try {
    await host.page.click(id('run'))
    await host.verdict('exited')
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+Home')
    await guest.page.keyboard.insertText('# above\n')
    await host.seesText('# above')
    await guest.saved()
    await guest.page.keyboard.press('Control+Enter')
    await host.seesOutput('line 3, in half')
    await host.verdict('exited')
    await host.page.click(id('run-history'))
    await host.page.click(`${id('runs-entry')}[data-run="1"]`)
    const row = host.page.locator('[data-testid=runs-terminal] .xterm-rows > div', { hasText: 'line 2, in half' })
    await row.waitFor()
    const box = await row.boundingBox()
    // The files of the run come by themselves: the link is there when they are.
    for (let tries = 0; ; tries++) {
      assert.ok(tries < 1000, 'no link came')
      await host.page.mouse.move(box.x + 40 + tries % 30, box.y + box.height / 2)
      if (await host.page.locator('[data-testid=runs-terminal] .xterm-cursor-pointer').count() > 0) break
    }
    await host.page.mouse.down()
    await host.page.mouse.up()
    await host.page.waitForSelector(id('runs'), { state: 'detached' })
    await host.atLine('    return x / 0')
  } finally { await close() }
})

test('a run that was given its input is run again with it', async () => {
  const { host, guest, close } = await pair({ 'main.py': echo })
  try {
    await host.page.click(id('run-options'))
    await host.page.fill(id('run-args'), 'again')
    await host.page.check(id('run-mode-pipes'))
    await host.page.fill(id('run-stdin'), 'kept')
    await host.page.keyboard.press('Control+Enter')
    await host.verdict('exited')
    await guest.seesOutput(`read 'kept'`)
    await guest.page.click(id('run-history'))
    await guest.page.click(id('runs-now'))
    await guest.page.click(id('run-history'))
    await guest.page.waitForSelector(`${id('runs-entry')}[data-run="2"]`)
    await guest.page.waitForSelector(`${id('runs-verdict')} >> text=exit status 0`)
    await guest.page.waitForFunction(() => [...document.querySelectorAll('[data-testid=runs-terminal] .xterm-rows > div')].some((row) => row.textContent.includes(`read 'kept'`)))
    assert.match(await host.output(), /args \['again'\]/)
  } finally { await close() }
})

test('the seat: asked for, in line, taken back, denied, granted, handed on by itself', async () => {
  const { room, host, guest, close } = await pair({ 'main.py': 'input()\n' })
  const third = await person(room, 'guest', 'Vera')
  try {
    await host.page.click(id('driver-take'))
    for (const who of [host, guest, third]) await who.driver('Hanna')
    // What comes and goes above the terminal moves nothing.
    const top = () => host.page.$eval(`.run-pane ${id('terminal')}`, (el) => el.getBoundingClientRect().top)
    const stands = await top()
    // By the keyboard: the button that asks is the one that takes back.
    await guest.page.focus(id('driver-request'))
    await guest.page.keyboard.press('Enter')
    await guest.focused(id('driver-withdraw'))
    await guest.page.waitForSelector(`${id('seat-place')} >> text=You are next`)
    await third.page.click(id('driver-request'))
    await third.page.waitForSelector(`${id('seat-place')} >> text=You are number 2 in line`)
    await host.page.waitForFunction((asks) => document.querySelectorAll(asks).length === 2, id('driver-asks'))
    assert.deepEqual(await host.page.$$eval(`${id('driver-asks')} .seat-words`, (all) => all.map((w) => w.textContent)), ['Gus asks for the keyboard', 'Vera asks for the keyboard'])
    assert.equal(await top(), stands)
    await host.picture('seat-queue-light')
    await host.accessible()
    await guest.page.keyboard.press('Enter')
    await guest.focused(id('driver-request'))
    await third.page.waitForSelector(`${id('seat-place')} >> text=You are next`)
    // Denied: who asked is told, and may ask again.
    await host.page.focus(id('driver-deny'))
    await host.page.keyboard.press('Enter')
    await third.page.waitForSelector(`${id('notice')} >> text=Hanna keeps the keyboard for now.`)
    await third.page.click(id('driver-request'))
    await host.page.focus(id('driver-give'))
    await host.page.keyboard.press('Enter')
    for (const who of [host, guest, third]) await who.driver('Vera')

    // The driver gives it to one who did not ask, from the menu.
    await third.page.focus(id('seat-menu'))
    await third.page.keyboard.press('Enter')
    await third.page.click(`${id('seat-give')} >> text=Gus`)
    await guest.driver('Gus')

    // It goes round: who is next, and that it did.
    await guest.page.click(id('seat-menu'))
    await guest.page.fill(id('rotate-minutes'), '500')
    await guest.page.keyboard.press('Enter')
    await guest.page.waitForSelector('text=Give from 0.05 to 120 minutes.')
    await guest.picture('seat-menu-dark')
    await guest.accessible()
    await guest.page.click(id('rotate-10'))
    for (const who of [host, guest, third]) await who.page.waitForSelector(`${id('rotation')}[data-minutes="10"] >> text=in 10 min`)
    assert.match(await third.page.textContent(id('rotation')), /To you in 10 min/)
    assert.match(await guest.page.textContent(id('rotation')), /To Vera in 10 min/)
    await guest.picture('rotation-dark')
    await guest.page.click(id('seat-menu'))
    await guest.page.fill(id('rotate-minutes'), '0.05')
    await guest.page.click(id('rotate-set'))
    for (const who of [host, guest, third]) await who.driver('Vera')
    await host.page.click(id('seat-menu'))
    await host.page.click(id('rotate-off'))
    for (const who of [host, guest, third]) await who.page.waitForSelector(id('rotation'), { state: 'detached' })
    await third.page.waitForFunction((said) => document.querySelector(said).textContent !== '', id('announcement'))
    assert.deepEqual(third.faults, [])
  } finally { await Promise.all([close(), third.close()]) }
})
