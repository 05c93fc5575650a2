// Files and the editor of the page in Chromium: the tree, what comes from outside, tabs,
// undo and key maps, the server gone, following somebody, rooms that were open before.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import * as people from './people.mjs'
import { id } from './people.mjs'
import { makeRoom } from './server.mjs'

const stage = people.stage()

async function person(name, options = {}) {
  const who = await people.person(stage.browser, name, {
    ...options,
    init: () => { window.treePaths = () => [...document.querySelectorAll('[role=treeitem]')].map((row) => row.dataset.path) },
  })
  const { page } = who
  return {
    ...who,
    open: async (room, role) => {
      await who.goto(stage.server, room, role)
      await who.connected()
      await page.waitForSelector('.cm-content')
    },
    seesPaths: (paths) => page.waitForFunction((want) => JSON.stringify(window.treePaths()) === want, JSON.stringify(paths)),
    seesOpen: (path) => page.waitForFunction((want) => document.querySelector('[role=treeitem][aria-selected=true]')?.dataset.path === want, path),
    row: (path) => page.locator(`[role=treeitem][data-path="${path}"]`),
  }
}

/** Hanna, a host, and Gus, a guest, in a new room with files. */
async function pair(files) {
  const room = await makeRoom(stage.server, { language: 'python', title: 'Interview', files })
  const host = await person('Hanna')
  const guest = await person('Gus', { colorScheme: 'dark' })
  await host.open(room, 'host')
  await guest.open(room, 'guest')
  return { room, host, guest, close: () => Promise.all([host.close(), guest.close()]) }
}

const file = (name, content) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(content) })

test('the tree: folders, the keyboard alone, moves that both see', async () => {
  const { host, guest, close } = await pair([{ path: 'main.py', content: 'print(1)\n' }, { path: 'lib/a.py', content: 'a = 1\n' }, { path: 'lib/deep/b.py', content: 'b = 2\n' }])
  try {
    await guest.seesPaths(['lib', 'lib/deep', 'lib/deep/b.py', 'lib/a.py', 'main.py'])
    // To the first row, close the folder, open it again, down into it, open a file.
    await host.row('main.py').focus()
    await host.key('Home', 'ArrowLeft')
    await host.seesPaths(['lib', 'main.py'])
    await host.key('ArrowRight', 'ArrowDown', 'ArrowDown', 'Enter')
    await host.seesOpen('lib/deep/b.py')
    await host.seesText('b = 2')
    await host.accessible()
    await host.picture('files-tree-light')

    // F2 renames: to another folder, which is there by that.
    await host.row('lib/deep/b.py').focus()
    await host.key('F2')
    await host.page.fill(id('path-input'), 'lib/a.py')
    await host.key('Enter')
    await host.page.waitForSelector('text=There is a file lib/a.py already.')
    await host.page.fill(id('path-input'), 'tools/b.py')
    await host.key('Enter')
    await guest.seesPaths(['lib', 'lib/a.py', 'tools', 'tools/b.py', 'main.py'])
    await host.seesText('b = 2')

    // A file is dragged onto a folder, and a folder's file to the top.
    await guest.row('main.py').dragTo(guest.row('tools'))
    await host.seesPaths(['lib', 'lib/a.py', 'tools', 'tools/b.py', 'tools/main.py'])

    // A new file in a folder.
    await guest.row('lib').hover()
    await guest.row('lib').getByRole('button').click()
    await guest.page.click('text=New file in this folder')
    await guest.page.waitForFunction(() => document.activeElement?.value === 'lib/')
    await guest.page.keyboard.type('new.py')
    await guest.key('Enter')
    await host.seesPaths(['lib', 'lib/a.py', 'lib/new.py', 'tools', 'tools/b.py', 'tools/main.py'])
    await guest.seesOpen('lib/new.py')

    // Delete asks, then deletes the folder for everybody.
    await host.row('tools').focus()
    await host.key('Delete')
    await host.accessible('a question')
    await host.picture('files-question')
    assert.equal(await host.answers(false), 'Delete the folder tools with its 2 files for everybody?')
    await host.focused('[role=treeitem][data-path="tools"]')
    await host.key('Delete')
    await host.focused(id('question-no'))
    await host.key('Escape')
    await host.page.waitForSelector(id('question'), { state: 'detached' })
    await host.focused('[role=treeitem][data-path="tools"]')
    assert.ok((await host.page.evaluate(() => window.treePaths())).includes('tools'))
    await host.key('Delete')
    await host.focused(id('question-no'))
    await host.key('Tab', 'Enter')
    await guest.seesPaths(['lib', 'lib/a.py', 'lib/new.py'])
    await host.focused('[role=treeitem]')
    await guest.picture('files-tree-dark')
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await close() }
})

test('files come in and go out: text and archives, and words for what cannot', async () => {
  const { host, guest, close } = await pair([{ path: 'main.py', content: 'print("whole")\n' }])
  try {
    await host.page.setInputFiles(id('upload-input'), [
      file('data.csv', 'a,b\r\n1,2\r\n'), file('main.py', 'again'), file('picture.png', [0x89, 0x50, 0xff, 0]), file('huge.txt', 'x'.repeat(900_000)),
    ])
    const report = await host.page.locator(id('upload-report'))
    await report.waitFor()
    const words = await report.textContent()
    for (const want of ['1 file added', 'There is a file main.py already', 'picture.png was left out: it is not text', 'huge.txt was left out: it has 879 KiB']) {
      assert.ok(words.includes(want), `${want} is not in: ${words}`)
    }
    await host.accessible()
    await host.picture('files-upload-light')
    await guest.seesPaths(['data.csv', 'main.py'])
    await host.seesText('1,2')

    // Dropped onto the panel.
    const transfer = await guest.page.evaluateHandle(() => {
      const data = new DataTransfer()
      data.items.add(new File(['dropped = True\n'], 'dropped.py'))
      return data
    })
    await guest.page.dispatchEvent('.files', 'drop', { dataTransfer: transfer })
    await host.seesPaths(['data.csv', 'dropped.py', 'main.py'])

    // All as a zip, which makes the same room again elsewhere.
    const waiting = host.page.waitForEvent('download')
    await host.page.click(id('files-more'))
    await host.page.click(id('download'))
    const download = await waiting
    assert.equal(download.suggestedFilename(), 'Interview.zip')
    const archive = await readFile(await download.path())
    const other = await pair([{ path: 'z.txt', content: '' }])
    try {
      await other.host.page.setInputFiles(id('upload-input'), { name: 'all.zip', mimeType: 'application/zip', buffer: archive })
      await other.guest.seesPaths(['data.csv', 'dropped.py', 'main.py', 'z.txt'])
      await other.guest.row('main.py').click()
      await other.guest.seesText('print("whole")')
      // One whose file would lead out: same length, so that the archive stays whole.
      const evil = Buffer.from(archive.toString('latin1').replaceAll('data.csv', '../a.csv'), 'latin1')
      await other.host.page.setInputFiles(id('upload-input'), { name: 'evil.zip', mimeType: 'application/zip', buffer: evil })
      await other.host.page.waitForSelector('text=whose path leads out of its folder. Nothing was added.')
      assert.deepEqual(await other.host.page.evaluate(() => window.treePaths()), ['data.csv', 'dropped.py', 'main.py', 'z.txt'])
    } finally { await other.close() }
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await close() }
})

test('tabs: kept over a reload, closed by key, button and middle click; quick open', async () => {
  const long = Array.from({ length: 200 }, (_, i) => `line_${i} = ${i}`).join('\n')
  const { host, close } = await pair([{ path: 'main.py', content: long }, { path: 'lib/a.py', content: 'a = 1\n' }, { path: 'lib/b.py', content: 'b = 2\n' }])
  const tabs = () => host.page.$$eval('[role=tab]', (all) => all.map((tab) => tab.dataset.path))
  const seesTabs = (want) => host.page.waitForFunction((paths) => JSON.stringify([...document.querySelectorAll('[role=tab]')].map((tab) => tab.dataset.path)) === paths, JSON.stringify(want))
  try {
    // The place in a file comes back with the file.
    await host.page.click('.cm-content')
    await host.key('Control+End', 'Control+Home')
    for (let i = 0; i < 120; i++) await host.key('ArrowDown')
    await host.page.waitForSelector('.cm-activeLine >> text=line_120 ')
    await host.key('Control+p')
    await host.page.fill(id('quick-open'), 'lia')
    await host.accessible()
    await host.picture('files-quick-open')
    await host.key('Enter')
    await host.seesOpen('lib/a.py')
    await host.seesText('a = 1')
    await host.row('lib/b.py').click()
    await host.seesText('b = 2')
    assert.deepEqual(await tabs(), ['main.py', 'lib/a.py', 'lib/b.py'])
    await host.accessible()
    await host.page.click('[role=tab][data-path="main.py"]')
    await host.page.waitForSelector('.cm-activeLine >> text=line_120 ')
    const scrolled = await host.page.$eval('.cm-scroller', (el) => el.scrollTop)
    assert.ok(scrolled > 500, `scrolled to ${scrolled}`)

    await host.page.reload()
    await host.connected()
    await seesTabs(['main.py', 'lib/a.py', 'lib/b.py'])
    await host.page.focus('[role=tab][aria-selected=true]')
    await host.key('ArrowRight')
    await host.seesOpen('lib/a.py')
    await host.key('Delete')
    await seesTabs(['main.py', 'lib/b.py'])
    await host.seesOpen('lib/b.py')
    await host.row('lib/a.py').click()
    await seesTabs(['main.py', 'lib/b.py', 'lib/a.py'])
    await host.page.click('[role=tab][data-path="main.py"]', { button: 'middle' })
    await seesTabs(['lib/b.py', 'lib/a.py'])
    await host.page.click('[role=tab][data-path="lib/a.py"] .tab-close')
    await seesTabs(['lib/b.py'])
    await host.row('main.py').click()
    await host.page.click('.cm-content')
    await host.key('Alt+w')
    await seesTabs(['lib/b.py'])
    assert.deepEqual(host.faults, [])
  } finally { await close() }
})

for (const [keyMap, undo, redo] of [['default', 'Control+z', 'Control+y'], ['vim', 'u', 'Control+r'], ['emacs', 'Control+/', 'Control+Shift+/']]) {
  test(`undo with the keys of ${keyMap} takes back nobody else's text`, async () => {
    const { host, guest, close } = await pair([{ path: 'main.py', content: 'start\n' }])
    try {
      if (keyMap !== 'default') {
        await host.page.click(id('editor-settings'))
        await host.page.selectOption(id('key-map'), keyMap)
        await host.key('Escape')
        if (keyMap === 'vim') await host.page.waitForSelector('.cm-vimMode')
        else await host.page.waitForSelector('.cm-emacsMode')
      }
      await host.page.click('.cm-content')
      await host.key('Control+Home')
      if (keyMap === 'vim') await host.key('g', 'g', 'i')
      await host.page.keyboard.type('mine ')
      if (keyMap === 'vim') await host.key('Escape')
      await guest.seesText('mine start')
      await guest.page.click('.cm-content')
      await guest.key('Control+Home')
      await guest.page.keyboard.type('yours ')
      await host.seesText('yours mine start')
      await host.key(undo)
      await guest.seesNoText('mine')
      await host.seesText('yours start')
      // There is nothing more of this person's to take back.
      await host.key(undo)
      await host.key(redo)
      await guest.seesText('yours mine start')
      if (keyMap === 'vim') {
        await host.picture('files-vim')
        await host.accessible()
      }
      // Escape and Tab leave the editor in each.
      await host.key('Escape', 'Tab')
      assert.ok(await host.page.evaluate(() => document.activeElement.closest('.cm-content') === null))
      assert.deepEqual([...host.faults, ...guest.faults], [])
    } finally { await close() }
  })
}

test('settings are kept, and find and replace reach the others', async () => {
  const { host, guest, close } = await pair([{ path: 'main.py', content: 'one two one\n' }])
  try {
    await host.page.click(id('editor-settings'))
    await host.page.selectOption(id('font-size'), '20')
    await host.page.check(id('wrap'))
    await host.accessible()
    await host.picture('files-settings')
    await host.page.reload()
    await host.connected()
    await host.page.waitForFunction(() => getComputedStyle(document.querySelector('.cm-editor')).fontSize === '20px' && document.querySelector('.cm-lineWrapping') !== null)
    for (const who of [host, guest]) {
      await who.page.click('.cm-content')
      await who.key('Control+f')
      await who.page.fill('.cm-search [name=search]', 'one')
      await who.accessible()
      await who.picture(who === host ? 'files-find-light' : 'files-find-dark')
    }
    await host.page.fill('.cm-search [name=replace]', 'three')
    await host.page.click('.cm-search [name=replaceAll]')
    await guest.seesText('three two three')
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await close() }
})

test('the server gone: a reloaded page shows the document and takes edits, which merge', async () => {
  const { room, host, guest, close } = await pair([{ path: 'main.py', content: 'start\n' }])
  const viewer = await person('Vera')
  const kept = (who) => who.page.waitForFunction(async () => {
    const names = (await Promise.all((await caches.keys()).map(async (name) => (await (await caches.open(name)).keys()).map((r) => r.url)))).flat()
    return navigator.serviceWorker.controller !== null && ['main', 'room-page'].every((part) => names.some((url) => url.includes(part))) && names.some((url) => new URL(url).pathname === '/')
  })
  try {
    await viewer.open(room, 'viewer')
    for (const who of [host, guest]) {
      await kept(who)
      await who.seesText('start')
      await who.saved()
    }
    await stage.server.kill()
    await host.page.waitForSelector(`${id('connection')}[data-state=reconnecting]`)
    await guest.page.click('.cm-content')
    await guest.key('Control+End')
    await guest.page.keyboard.type('by Gus')
    await guest.page.waitForSelector(`${id('saved')}[data-state=local]`)

    await host.page.reload()
    await host.seesText('start')
    // What was stored is not called unsaved.
    await host.page.waitForSelector(`${id('saved')}[data-state=saved]`)
    await host.page.click('.cm-content')
    await host.key('Control+Home')
    await host.page.keyboard.type('by Hanna ')
    await host.page.waitForSelector(`${id('saved')}[data-state=local]`)
    await host.picture('files-offline')
    // Nor is what was not stored called saved after one more reload.
    await host.page.reload()
    await host.seesText('by Hanna start')
    await host.page.waitForSelector(`${id('saved')}[data-state=local]`)

    await stage.server.start()
    for (const who of [host, guest]) {
      await who.connected()
      await who.seesText('by Hanna start')
      await who.seesText('by Gus')
      await who.saved()
    }
    assert.equal(await host.text(), await guest.text())
    await viewer.seesText('by Hanna start')
    const databases = (who) => who.page.evaluate(async () => (await indexedDB.databases()).map((one) => one.name))
    assert.deepEqual(await databases(viewer), [])
    assert.deepEqual(await databases(host), [`corun.doc.${room.id}`])

    // Who is removed keeps nothing of it.
    await host.page.locator(id('participant')).filter({ hasText: 'Gus' }).locator(id('person-menu')).click()
    await host.page.click(id('remove'))
    await host.answers(true)
    await guest.page.waitForSelector(id('ending'))
    await guest.page.waitForFunction(async () => (await indexedDB.databases()).length === 0)
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await Promise.all([close(), viewer.close()]) }
})

test('rooms that were open are on the start page, with what opens them, until they are removed', async () => {
  const { room, host, close } = await pair([{ path: 'main.py', content: 'again\n' }])
  const asked = []
  host.page.on('request', (request) => asked.push(new URL(request.url()).pathname))
  try {
    await host.page.waitForFunction(() => localStorage.getItem('corun.recent')?.includes('Interview'))
    await host.page.goto(stage.server.url)
    const entry = host.page.locator(`${id('recent')} li`)
    assert.match(await entry.textContent(), /Interview.*host/)
    await host.page.waitForSelector('input[value=python]')
    await host.accessible()
    await host.picture('files-recent')
    await entry.getByRole('link').click()
    await host.connected()
    await host.seesText('again')
    await host.page.goto(stage.server.url)
    await entry.getByRole('button').click()
    await entry.waitFor({ state: 'detached' })
    await host.page.reload()
    await host.page.waitForSelector('input[value=python]')
    assert.equal(await entry.count(), 0)
    // The token is in no address that a server sees, but for the sockets'.
    assert.ok(asked.every((path) => !path.includes(room.tokens.host)))
    assert.ok(!stage.server.log.includes(room.tokens.host))
  } finally { await close() }
})

test('following somebody: to their file and place as they move, until the follower moves', async () => {
  const long = Array.from({ length: 200 }, (_, i) => `line_${i} = ${i}`).join('\n')
  const { host, guest, close } = await pair([{ path: 'main.py', content: long }, { path: 'other.py', content: 'other = 1\n' }])
  const bar = host.page.locator(id('following'))
  const follow = host.page.locator(`.sidebar ${id('follow')}[data-person=Gus]`)
  const inSight = (text) => host.page.waitForFunction((want) => {
    const box = document.querySelector('.cm-scroller').getBoundingClientRect()
    return [...document.querySelectorAll('.cm-line')].some((line) => {
      const at = line.getBoundingClientRect()
      return line.textContent.includes(want) && at.top >= box.top && at.bottom <= box.bottom
    })
  }, text)
  try {
    await guest.page.click('.cm-content')
    await guest.key('Control+End')
    await follow.focus()
    await host.key('Enter')
    assert.match(await bar.textContent(), /Following Gus/)
    await inSight('line_199')
    await host.accessible()
    await host.picture('files-follow')
    await guest.key('Control+Home')
    await inSight('line_0 ')
    await guest.row('other.py').click()
    await guest.page.click('.cm-content')
    await host.seesOpen('other.py')
    await host.seesText('other = 1')
    // Escape ends it, and so do own movement and another file; then nobody is taken anywhere.
    await host.key('Escape')
    await bar.waitFor({ state: 'detached' })
    await host.page.click(`.faces ${id('follow')}[data-person=Gus]`)
    await bar.waitFor()
    await host.page.click('.cm-content')
    await bar.waitFor({ state: 'detached' })
    await follow.click()
    await bar.waitFor()
    await host.row('main.py').click()
    await bar.waitFor({ state: 'detached' })
    await host.seesOpen('main.py')
    await guest.page.keyboard.type('more ')
    await host.page.waitForFunction(() => document.querySelector('[role=treeitem][aria-selected=true]').dataset.path === 'main.py')
    // Who is followed leaves.
    await follow.click()
    await bar.waitFor()
    await host.seesOpen('other.py')
    await guest.close()
    await bar.waitFor({ state: 'detached' })
    assert.deepEqual([...host.faults, ...guest.faults], [])
  } finally { await close() }
})

test('a room that nobody has touched loads at most 300,000 bytes, and the terminal with the first touch', async () => {
  const room = await makeRoom(stage.server, { files: [{ path: 'notes.txt', content: 'no grammar\n' }] })
  const host = await person('Hanna')
  const loaded = []
  host.page.on('requestfinished', (request) => loaded.push(request.sizes().then(({ responseBodySize }) => [new URL(request.url()).pathname, responseBodySize])))
  try {
    await host.open(room, 'host')
    await host.page.waitForLoadState('networkidle')
    assert.equal(await host.page.locator('.xterm').count(), 0)
    const files = await Promise.all(loaded)
    // What the service worker gives out of what is kept has no size.
    const size = files.reduce((sum, [, bytes]) => sum + Math.max(0, bytes), 0)
    assert.ok(size > 150_000 && size <= 300_000, `${size} bytes: ${JSON.stringify(files)}`)
    // Who takes no gzip gets the same unpacked.
    const script = files.map(([path]) => path).find((path) => /main.*js$/.test(path))
    const plain = await fetch(stage.server.url + script, { headers: { 'Accept-Encoding': 'gzip;q=0, identity' } })
    assert.equal(plain.headers.get('content-encoding'), null)
    const packed = await fetch(stage.server.url + script, { headers: { 'Accept-Encoding': 'br, gzip' } })
    assert.equal(packed.headers.get('content-encoding'), 'gzip')
    assert.match(packed.headers.get('content-type'), /javascript/)
    assert.equal(await packed.text(), await plain.text())
    await host.page.mouse.move(400, 300)
    await host.page.waitForSelector('.terminal .xterm')
    // Keys that look for something work from the first on.
    await host.page.click('.cm-content')
    await host.key('Control+f')
    await host.focused('.cm-search [name=search]')
    assert.deepEqual(host.faults, [])
  } finally { await host.close() }
})
