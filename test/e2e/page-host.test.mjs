// The page's side of being a host, in Debian's Chromium: settings, chat, tests, the
// lobby, private notes, and bringing everyone to a place.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as people from './people.mjs'
import { id } from './people.mjs'
import { makeRoom } from './server.mjs'

const stage = people.stage()

/** Somebody at a room's page. */
async function person(room, role, name, options = {}) {
  const who = await people.person(stage.browser, name, options)
  const { page } = who
  await who.goto(stage.server, room, role)
  return {
    ...who,
    sees: (selector) => page.waitForSelector(selector),
    announced: (text) => page.waitForFunction((want) => document.querySelector('[data-testid=announcement]').textContent.includes(want), text),
    picture: (what) => who.picture(`host-${what}`),
  }
}

/** A host in light and a guest in the dark, both connected. */
async function pair(files = [{ path: 'main.py', content: 'print("hello")\n' }]) {
  const room = await makeRoom(stage.server, { language: 'python', files })
  const host = await person(room, 'host', 'Hanna')
  const guest = await person(room, 'guest', 'Gus', { colorScheme: 'dark' })
  await Promise.all([host.connected(), guest.connected()])
  return { room, host, guest, close: () => Promise.all([host.close(), guest.close()]) }
}

const api = (room, role, method, path, body) => fetch(`${stage.server.url}/api/v1/rooms/${room.id}${path}`, {
  method, headers: { Authorization: `Bearer ${room.tokens[role]}`, 'Content-Type': 'application/json' }, ...(body ? { body: JSON.stringify(body) } : {}),
})

test('a host locks the room, lets the driver alone edit, switches runs off and ends it; everybody reads so', async () => {
  const { host, guest, close } = await pair()
  try {
    assert.equal(await guest.page.locator(id('host-panel')).count(), 0, 'a guest has no settings')
    await host.page.click(id('host-panel'))
    await host.sees(`${id('set-locked')}[aria-checked=false]`)
    await host.accessible('the settings')
    await host.picture('settings')
    const shows = (who, word) => who.sees(`${id('room-states')} >> text=${word}`)
    const toggle = async (name, on) => {
      await host.page.click(id(`set-${name}`))
      await host.sees(`${id(`set-${name}`)}[aria-checked=${on}]`)
    }
    await toggle('locked', true)
    for (const who of [host, guest]) await shows(who, 'Locked: nobody edits')
    await guest.sees(`${id('read-only')} >> text=locked`)
    await toggle('locked', false)
    await toggle('driver-only', true)
    for (const who of [host, guest]) await shows(who, 'Only who is at the keyboard edits')
    await toggle('driver-only', false)
    await toggle('runs', false)
    for (const who of [host, guest]) {
      await shows(who, 'Running is switched off')
      assert.ok(await who.page.isDisabled(id('run')))
    }
    await guest.picture('settings-guest-dark')
    await toggle('runs', true)
    await guest.page.waitForFunction(() => document.querySelector('[data-testid=room-states]').textContent === '')

    // End asks, and a no is a no.
    await host.page.click(id('end-room'))
    await host.accessible('a question')
    await host.picture('question')
    assert.match(await host.answers(false), /^End this room for everybody/)
    await host.focused(id('end-room'))
    assert.equal(await guest.page.locator(id('ending')).count(), 0)
    await host.page.click(id('end-room'))
    await host.answers(true)
    for (const who of [host, guest]) await who.sees(`${id('ending')} >> text=This room has ended`)
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await close() }
})

test('a chat: sent by Enter, counted, linked to lines and runs, removed by a host', async () => {
  const { room, host, guest, close } = await pair([
    { path: 'main.py', content: 'import lib.help\nprint(1)\n' }, { path: 'lib/help.py', content: `${'# filler\n'.repeat(120)}answer = 42\n` },
  ])
  const viewer = await person(room, 'viewer', 'Vera')
  try {
    await viewer.connected()
    // The guest writes while the host's chat is shut: counted, and told in words.
    await guest.page.keyboard.press('Alt+Shift+C')
    await guest.page.waitForFunction(() => document.activeElement.matches('[data-testid=chat-input]'))
    await guest.page.keyboard.type('first line')
    await guest.page.keyboard.press('Shift+Enter')
    await guest.page.keyboard.type('second <b>line</b>')
    await guest.page.keyboard.press('Enter')
    await host.sees(`${id('open-chat')}[aria-label*="1 unread message"]`)
    await host.announced('Gus says: first line')
    assert.equal(await guest.page.inputValue(id('chat-input')), '')

    // Opened it is read; what comes now is told by nobody.
    await host.page.click(id('open-chat'))
    await host.sees(`${id('open-chat')}[aria-label="Chat"]`)
    const message = host.page.locator(id('chat-message')).first()
    assert.equal(await message.locator('.chat-text').textContent(), 'first line\nsecond <b>line</b>')
    assert.match(await message.locator('time').textContent(), /\d/)
    await guest.page.keyboard.type('quietly')
    await guest.page.keyboard.press('Enter')
    await host.sees(`${id('chat-message')} >> text=quietly`)
    assert.doesNotMatch(await host.page.textContent(id('announcement')), /quietly/)
    await host.sees(`${id('open-chat')}[aria-label="Chat"]`)

    // Escape goes to the editor.
    await host.page.focus(id('chat-input'))
    await host.page.keyboard.press('Escape')
    assert.ok(await host.page.evaluate(() => document.activeElement.closest('.cm-editor') !== null))

    // A link to a line goes there, also when lines came before it.
    await guest.page.click('[role=treeitem][data-path="lib/help.py"]')
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+End')
    await guest.page.keyboard.press('ArrowUp')
    await guest.page.click(id('chat-link-line'))
    await guest.page.fill(id('chat-input'), 'look here')
    await guest.page.press(id('chat-input'), 'Enter')
    await guest.page.click('.cm-content')
    await guest.page.keyboard.press('Control+Home')
    await guest.page.keyboard.type('# one more\n')
    await host.sees(`${id('chat-link')} >> text=lib/help.py, line 122`)
    await host.picture('chat')
    await guest.picture('chat-dark')
    await host.accessible('the chat')
    await guest.accessible('the chat in the dark')
    await host.page.click(id('chat-link'))
    await host.sees('.cm-activeLine >> text=answer = 42')

    // A link to a run shows the terminal, or what an earlier one printed.
    await host.page.click(id('run'))
    await host.sees(`${id('verdict')}[data-state=finished]`)
    await host.page.click(id('chat-link-run'))
    await host.page.fill(id('chat-input'), 'this run')
    await host.page.press(id('chat-input'), 'Enter')
    await guest.page.click(`${id('chat-link')} >> text=Run 1`)
    await guest.page.waitForFunction(() => document.activeElement.closest('.terminal'))
    await host.page.click(id('run'))
    await guest.sees(`${id('verdict')}[data-state=finished]`)
    await host.page.waitForFunction(() => document.querySelector('[data-testid=chat-link-run]').textContent.includes('run 2'))
    await guest.page.waitForFunction(() => document.querySelector('[data-testid=chat-link-run]').textContent.includes('run 2'))
    await guest.page.click(`${id('chat-link')} >> text=Run 1`)
    await guest.sees(`${id('runs-details')}[data-run="1"] ${id('runs-terminal')} .xterm-rows >> text=1`)
    await guest.page.keyboard.press('Escape')
    await guest.page.waitForSelector(id('runs'), { state: 'detached' })

    // Near the limit the bytes are counted; beyond it nothing is sent.
    await host.page.fill(id('chat-input'), 'ä'.repeat(1_990))
    await host.sees(`${id('chat-left')} >> text=20 bytes left`)
    await host.page.fill(id('chat-input'), 'ä'.repeat(2_001))
    await host.sees(`${id('chat-left')} >> text=2 bytes too long`)
    assert.ok(await host.page.isDisabled(id('chat-send')))
    await host.page.fill(id('chat-input'), '')

    // A viewer reads and cannot write; a guest removes nothing; a host does.
    await viewer.page.click(id('open-chat'))
    await viewer.sees(`${id('chat-message')} >> text=look here`)
    assert.equal(await viewer.page.locator(id('chat-input')).count(), 0)
    assert.equal(await guest.page.locator(id('chat-remove')).count(), 0)
    await host.page.hover(id('chat-message'))
    await host.page.click(`${id('chat-message')} >> nth=0 >> ${id('chat-remove')}`)
    await host.answers(true)
    for (const who of [host, guest, viewer]) {
      await who.page.waitForFunction(() => ![...document.querySelectorAll('.chat-text')].some((text) => text.textContent.includes('first line')))
    }
    // A reload has what is left.
    await guest.page.reload()
    await guest.connected()
    await guest.page.click(id('open-chat'))
    await guest.sees(`${id('chat-message')} >> text=quietly`)
    assert.deepEqual([...host.faults, ...guest.faults, ...viewer.faults], [])
  } finally { await Promise.all([close(), viewer.close()]) }
})

test('a message that the server refuses stays in its place, with the reason', async () => {
  const { host, close } = await pair()
  try {
    await host.page.click(id('open-chat'))
    for (let n = 1; n <= 30; n++) {
      await host.page.fill(id('chat-input'), `message ${n}`)
      await host.page.press(id('chat-input'), 'Enter')
      await host.page.waitForFunction(() => !document.querySelector('[data-testid=chat-input]').readOnly)
      if (await host.page.inputValue(id('chat-input')) !== '') break
    }
    await host.sees('#chat-problem >> text=more than one message a second')
    assert.match(await host.page.inputValue(id('chat-input')), /^message \d+$/)
  } finally { await close() }
})

test('tests: a host writes them, everybody runs them, guests see of hidden ones whether they passed', async () => {
  const { room, host, guest, close } = await pair([{ path: 'main.py', content: 'n = int(input())\nprint(n * 2)\nprint("end")\n' }])
  try {
    await guest.page.keyboard.press('Alt+Shift+T')
    await guest.sees(`${id('tests-panel')} >> text=This room has no tests`)
    assert.equal(await guest.page.locator(id('edit-tests')).count(), 0)
    await host.page.click(id('open-tests'))
    await host.page.click(id('edit-tests'))
    await host.sees(id('tests-editor'))
    await host.page.fill(id('case-name'), 'Doubles')
    await host.page.fill(id('case-points'), '2')
    await host.page.fill(id('case-stdin'), '4\n')
    await host.page.fill(id('case-args'), `-v "two words" 'two\nlines'`)
    await host.page.waitForFunction((split) => document.querySelectorAll(`${split} code`).length === 3, id('case-args-split'))
    await host.page.fill(id('case-expected'), '8\nend\n')
    await host.page.click(id('add-test'))
    await host.page.fill(id('case-name'), 'Squares')
    await host.page.fill(id('case-points'), 'many')
    await host.page.fill(id('case-stdin'), '3\n')
    await host.page.fill(id('case-expected'), '9\nend\n')
    await host.page.click(id('save-tests'))
    await host.sees('#case-problem >> text=Points are a number')
    assert.ok(await host.page.evaluate(() => document.activeElement.matches('[data-testid=case-points]')), 'the focus goes to what is wrong')
    await host.page.fill(id('case-points'), '3')
    await host.accessible('the editor of tests')
    await host.picture('tests-editor')
    await host.page.click(id('add-test'))
    await host.page.fill(id('case-name'), 'Secret')
    await host.page.check(id('case-hidden'))
    await host.page.fill(id('case-stdin'), '777\n')
    await host.page.selectOption(id('case-match'), 'checker')
    await host.page.fill(id('case-checkerSource'), 'import sys\nsys.exit(0 if "1554" in open("output.txt").read() else 1)\n')
    await host.page.fill(id('case-wall'), '1000000')
    await host.page.click(id('save-tests'))
    // The server has the last word.
    await host.page.waitForFunction(() => document.querySelector('[data-testid=tests-refusal]').textContent !== '')
    await host.page.fill(id('case-wall'), '5')
    await host.page.click(id('save-tests'))
    await host.page.waitForSelector(id('tests-editor'), { state: 'detached' })
    const { cases } = await (await api(room, 'host', 'GET', '/tests')).json()
    assert.deepEqual(cases[0].args, ['-v', 'two words', 'two\nlines'])
    assert.deepEqual(cases.map((c) => [c.name, c.points, c.hidden, c.match, c.limits]), [
      ['Doubles', 2, false, 'trimmed', undefined], ['Squares', 3, false, 'trimmed', undefined], ['Secret', 1, true, 'checker', { wall_ms: 5000 }],
    ])

    // The guest, who has them without reloading, runs them.
    await guest.sees(`${id('test-row')} >> text=Secret`)
    await guest.page.click(id('run-tests'))
    for (const who of [host, guest]) {
      await who.sees(`${id('test-row')}[data-state=passed] >> text=Doubles`)
      await who.sees(`${id('test-row')}[data-state=failed] >> text=Squares`)
      await who.sees(`${id('test-row')}[data-state=passed] >> text=Secret`)
      await who.sees(`${id('tests-summary')} >> text=2 of 3 passed, 3 of 6 points`)
    }
    const details = async (who) => {
      await who.page.click(`${id('test-row')} >> text=Squares`)
      const lines = who.page.locator(`${id('test-diff')} li`)
      await lines.first().waitFor()
      assert.deepEqual(await lines.evaluateAll((all) => all.map((li) => [li.className, li.lastChild.textContent])), [['missing', '9'], ['extra', '6'], ['same', 'end']])
    }
    await details(guest)
    await guest.accessible('results in the dark')
    await guest.picture('tests-dark')
    // Of the hidden one the guest's page was told nothing more, and shows nothing.
    assert.equal(await guest.page.locator(`${id('test-row')}:has-text("Secret") button`).count(), 0)
    assert.doesNotMatch(await guest.page.content(), /777|1554/)
    await host.page.click(`${id('test-row')} >> text=Secret`)
    await host.sees(`${id('test-details')} >> text=777`)
    await host.picture('tests')
    await host.accessible('results')

    // After a reload, and after another run of the program, they are there again.
    await host.page.click(id('run'))
    await guest.sees(`${id('verdict')}[data-state=running]`)
    await host.page.click(id('stop'))
    await guest.sees(`${id('verdict')}[data-status=stopped]`)
    await guest.page.reload()
    await guest.connected()
    await guest.page.click(id('open-tests'))
    await guest.sees(`${id('tests-summary')} >> text=2 of 3 passed, 3 of 6 points`)
    await details(guest)
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await close() }
})

test('a host brings everyone to a line, and each finds the way back', async () => {
  const { room, host, guest, close } = await pair([
    { path: 'main.py', content: 'print(1)\n' }, { path: 'other.py', content: `${'# filler\n'.repeat(200)}target = 1\n` },
  ])
  const viewer = await person(room, 'viewer', 'Vera')
  try {
    await viewer.connected()
    await guest.page.click('.cm-content')
    await host.page.click('.file-name >> text=other.py')
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Control+End')
    await host.page.keyboard.press('ArrowUp')
    await host.page.click(id('host-panel'))
    await host.page.click(id('bring'))
    for (const who of [guest, viewer]) {
      await who.sees(`${id('brought')} >> text=Hanna brought everyone here`)
      await who.seesText('target = 1')
    }
    assert.equal(await host.page.locator(id('brought')).count(), 0)
    await guest.sees('.cm-activeLine >> text=target = 1')
    await guest.picture('brought-dark')
    await guest.accessible('the notice')
    await guest.page.click(id('bring-back'))
    await guest.seesText('print(1)')
    await guest.page.waitForSelector(id('brought'), { state: 'detached' })
    await viewer.page.click(id('bring-stay'))
    // Who comes later is left where they are, and a second call is heard again.
    const late = await person(room, 'guest', 'Lea')
    try {
      await late.connected()
      await late.seesText('print(1)')
      await host.page.click(id('host-panel'))
      await host.page.click(id('bring'))
      await late.sees(id('brought'))
      await late.seesText('target = 1')
      assert.deepEqual(late.faults, [])
    } finally { await late.close() }
    // Who is at the keyboard presents.
    await guest.page.click(id('bring-back'))
    await guest.seesText('print(1)')
    await guest.page.click(id('driver-take'))
    await guest.page.click(id('seat-menu'))
    await guest.page.click(id('seat-bring'))
    await host.sees(`${id('brought')} >> text=Gus brought everyone here`)
    await host.seesText('print(1)')
    assert.deepEqual([...host.faults, ...guest.faults, ...viewer.faults], [])
  } finally { await Promise.all([close(), viewer.close()]) }
})

test('a lobby: guests wait on a calm page and come in without reloading when the host starts', async () => {
  // The start page makes such a room.
  const maker = await stage.browser.newContext({ viewport: { width: 1280, height: 800 } })
  const start = await maker.newPage()
  start.setDefaultTimeout(20_000)
  await start.goto(stage.server.url)
  await start.waitForSelector('input[value=python]:checked')
  await start.check(id('with-lobby'))
  await start.click(id('new-room'))
  await start.waitForSelector(`${id('lobby-bar')} >> text=Nobody waits so far`)
  await maker.close()

  const room = await makeRoom(stage.server, { language: 'python', lobby: true, files: [{ path: 'main.py', content: 'print("prepared")\n' }] })
  const host = await person(room, 'host', 'Hanna')
  await host.connected()
  await host.page.click(id('run'))
  await host.sees(`${id('verdict')}[data-status=exited]`)
  const guest = await person(room, 'guest', 'Gus', { colorScheme: 'dark' })
  const viewer = await person(room, 'viewer', 'Vera', { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true })
  try {
    await host.announced('waits in the lobby')
    for (const who of [guest, viewer]) await who.sees(`${id('lobby')} >> text=The host will let you in soon`)
    await guest.sees(`${id('lobby-link')}[data-state=open]`)
    await guest.page.fill(id('name-input'), 'Gustav')
    await guest.page.click(id('name-save'))
    await host.sees(`${id('lobby-people')} >> text=Gustav`)
    await host.sees(`${id('lobby-people')} >> text=Vera`)
    await host.sees(`${id('room-states')} >> text=guests wait outside`)
    assert.equal(await host.page.locator(id('participant')).count(), 1)
    for (const [who, what] of [[host, 'the lobby of a host'], [guest, 'the lobby in the dark'], [viewer, 'the lobby on a phone']]) await who.accessible(what)
    await host.picture('lobby')
    await guest.picture('lobby-waiting-dark')
    await viewer.picture('lobby-waiting-phone')
    // Whom the host does not know is turned away; the others wait on.
    const stranger = await person(room, 'viewer', 'Nobody')
    await host.sees(`${id('lobby-people')} >> text=Nobody`)
    await host.page.click(id('lobby-menu'))
    await host.accessible('who waits')
    await host.picture('lobby-menu')
    await host.page.click(`${id('lobby-remove')} >> text=Remove Nobody`)
    assert.match(await host.answers(true), /^Remove Nobody from the room/)
    await stranger.sees(`${id('ending')} >> text=You were removed`)
    await stranger.close()
    await host.page.waitForFunction((names) => !document.querySelector(names).textContent.includes('Nobody'), id('lobby-people'))
    for (const who of [guest, viewer]) {
      assert.doesNotMatch(await who.page.content(), /prepared|Hanna/)
      await who.page.evaluate(() => { window.sameDocument = true })
    }
    await host.page.click(id('start-room'))
    await host.page.waitForSelector(id('lobby-bar'), { state: 'detached' })
    for (const who of [guest, viewer]) {
      await who.connected()
      await who.seesText('prepared')
      assert.ok(await who.page.evaluate(() => window.sameDocument), 'the page was loaded again')
    }
    await guest.page.waitForFunction(() => [...document.querySelectorAll('.xterm-rows > div')].some((row) => row.textContent.includes('prepared')))
    await guest.page.click('.cm-content')
    await guest.page.keyboard.type('# in\n')
    await host.seesText('# in')
    await host.sees(`${id('participant')} >> text=Gustav`)
    assert.deepEqual([...host.faults, ...guest.faults, ...viewer.faults], [])
  } finally { await Promise.all([host.close(), guest.close(), viewer.close()]) }
})

test('private notes: hosts share them, a guest has no way to them, and they are there after a crash', async () => {
  const { room, host, guest, close } = await pair()
  const other = await person(room, 'host', 'Hugo', { colorScheme: 'dark' })
  try {
    await other.connected()
    assert.equal(await guest.page.locator(id('open-notes')).count(), 0)
    await guest.page.keyboard.press('Alt+Shift+N')
    assert.equal(await guest.page.locator('.dock').count(), 0)
    await host.page.click('.cm-content')
    await host.page.keyboard.press('Alt+Shift+N')
    await host.sees(`${id('notes-panel')} >> text=only hosts see this`)
    await host.page.waitForFunction(() => document.activeElement.matches('[data-testid=notes]'))
    await host.page.keyboard.type('asks good questions')
    await other.page.click(id('open-notes'))
    await other.sees(`${id('notes')} >> text=asks good questions`)
    await other.page.click(id('notes'))
    await other.page.keyboard.press('Control+End')
    await other.page.keyboard.type(', and listens')
    await host.sees(`${id('notes')} >> text=and listens`)
    await host.accessible('the notes')
    await other.accessible('the notes in the dark')
    await host.picture('notes')
    await other.picture('notes-dark')
    assert.doesNotMatch(await guest.page.content(), /questions/)
    // Undo takes back one's own words; Escape goes to the code.
    await other.page.keyboard.press('Control+Z')
    await host.page.waitForFunction(() => document.querySelector('[data-testid=notes]').textContent.includes('questions') && !document.querySelector('[data-testid=notes]').textContent.includes('listens'))
    await other.page.keyboard.press('Escape')
    await other.page.waitForFunction(() => document.activeElement.closest('.editor-pane') !== null)

    await stage.server.kill()
    await host.sees(`${id('notes-state')}[data-state=offline]`)
    await stage.server.start()
    await host.sees(`${id('notes-state')}[data-state=connected]`)
    await other.page.reload()
    await other.connected()
    await other.page.click(id('open-notes'))
    await other.sees(`${id('notes')} >> text=asks good questions`)
    assert.deepEqual([...host.faults, ...guest.faults, ...other.faults], [])
  } finally { await Promise.all([close(), other.close()]) }
})

test('on a phone a panel covers the panes, and Escape uncovers them', async () => {
  const room = await makeRoom(stage.server, { language: 'python', files: [{ path: 'main.py', content: 'print("small")\n' }] })
  await api(room, 'host', 'PATCH', '', { locked: true, runs_enabled: false })
  const phone = await person(room, 'host', 'Hanna', { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true })
  try {
    await phone.connected()
    await phone.sees(`${id('room-states')} >> text=Locked`)
    await phone.picture('phone')
    await phone.accessible('the bar on a phone')
    for (const panel of ['chat', 'tests', 'notes']) {
      await phone.page.tap(id(`open-${panel}`))
      await phone.sees(id(`${panel}-panel`))
      await phone.sees({ chat: id('chat-input'), tests: id('tests-summary'), notes: id('notes') }[panel])
      await phone.picture(`phone-${panel}`)
      await phone.accessible(`the panel of ${panel} on a phone`)
    }
    await phone.page.tap(id('open-chat'))
    await phone.page.tap(id('chat-input'))
    await phone.page.keyboard.press('Escape')
    await phone.page.waitForSelector('.dock', { state: 'detached' })
    // A link leads to what the panel stands before.
    await phone.page.tap(id('open-chat'))
    await phone.page.tap(id('chat-link-line'))
    await phone.page.fill(id('chat-input'), 'here')
    await phone.page.tap(id('chat-send'))
    await phone.page.tap(id('chat-link'))
    await phone.page.waitForSelector('.dock', { state: 'detached' })
    await phone.page.waitForFunction(() => document.activeElement.closest('.editor-pane') !== null)
    await phone.page.tap(id('host-panel'))
    await phone.accessible('the settings on a phone')
    await phone.picture('phone-settings')
    assert.deepEqual(phone.faults, [])
  } finally { await phone.close() }
})
