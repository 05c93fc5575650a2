// Takes the pictures of the README and the docs, from the real program:
//   make pictures
// A room with two people, light and dark, while a program waits for input, and its
// playback. They are looked at before they are committed.
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { makeRoom, startServer } from './e2e/server.mjs'

const out = process.env.PICTURES ?? join(dirname(fileURLToPath(import.meta.url)), '..', 'docs')
const id = (name) => `[data-testid=${name}]`

const main = `from bank import Account, Overdrawn

account = Account("Ada", 120)


def ask(question: str) -> int:
    while True:
        try:
            return int(input(question))
        except ValueError:
            print("A whole number, please.")


while account.balance > 0:
    print(f"{account.owner} has {account.balance} €.")
    try:
        account.withdraw(ask("How much to take out? "))
    except Overdrawn as short:
        print(f"That is {short.by} € too much.")
`
const bank = `from dataclasses import dataclass


class Overdrawn(Exception):
    """More was asked for than there is."""

    def __init__(self, by: int) -> None:
        super().__init__(f"overdrawn by {by}")
        self.by = by


@dataclass
class Account:
    owner: str
    balance: int

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise Overdrawn(amount - self.balance)
        self.balance -= amount
`
const tests = `from bank import Account


def test_withdraw():
    account = Account("Ada", 10)
    account.withdraw(4)
    assert account.balance == 6
`

const server = await startServer()
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
try {
  await mkdir(out, { recursive: true })
  const room = await makeRoom(server, {
    title: 'A bank account', language: 'python',
    files: [{ path: 'main.py', content: main }, { path: 'bank.py', content: bank }, { path: 'tests/test_bank.py', content: tests }],
  })
  const ada = await person(room, 'host', { name: 'Ada Moreau', hue: 174 }, 'light')
  const ben = await person(room, 'guest', { name: 'Ben Okafor', hue: 265 }, 'dark')

  // Both type; each sees where the other is.
  await goTo(ada, 'print(f"That is')
  await ada.keyboard.press('End')
  await ada.keyboard.type('\n\n')
  await ada.keyboard.press('Home')
  await ada.keyboard.type('print("Nothing is left.")', { delay: 30 })
  await goTo(ben, 'account = Account')
  await ben.keyboard.press('End')
  await ben.keyboard.type('  # in whole euros', { delay: 30 })
  await goTo(ben, 'print(f"That is')
  await ben.keyboard.press('End')
  await ben.keyboard.press('Shift+Home')
  await goTo(ada, 'print("A whole')
  await ada.keyboard.press('End')
  await ada.click(id('run'))
  await prints(ada, 'How much')
  await ada.waitForFunction(() => document.activeElement?.closest('.terminal') != null)
  await ada.keyboard.type('45\n')
  await prints(ada, 'Ada has 75')
  await ada.keyboard.type('eighty\n')
  await prints(ada, 'A whole number')
  await ada.keyboard.type('200\n')
  await prints(ada, '125 € too much')
  await prints(ben, '125 € too much')
  await goTo(ada, 'account.withdraw(ask')
  await ada.keyboard.press('End')
  await goTo(ben, 'account = Account')
  await ben.keyboard.press('End')
  await ben.keyboard.press('Shift+Home')
  await picture(ada, 'room', ben)
  await ben.keyboard.press('End')
  await goTo(ada, 'account.withdraw(ask')
  await ada.keyboard.press('Home')
  await picture(ben, 'room-dark', ada)

  // And how it went on: the end of the program, some more edits, and another run.
  await ada.click('.xterm')
  await ada.keyboard.type('75\n')
  await ada.waitForSelector(`${id('verdict')}[data-state=finished]`)
  await goTo(ben, 'print("Nothing is left.")')
  await ben.keyboard.press('End')
  await ben.keyboard.type('\nprint("Goodbye.")', { delay: 30 })
  await goTo(ada, 'account = Account')
  await ada.keyboard.press('End')
  await ada.keyboard.type(' and no cents', { delay: 30 })
  await ada.click(id('run'))
  await ada.waitForSelector(`${id('verdict')}[data-state=running]`)
  await ada.waitForFunction(() => document.activeElement?.closest('.terminal') != null)
  await prints(ada, 'How much')
  await ada.keyboard.type('120\n')
  await ada.waitForSelector(`${id('verdict')}[data-state=finished]`)
  await ada.waitForSelector(`${id('saved')}[data-state=saved]`)
  await ben.waitForSelector(`${id('saved')}[data-state=saved]`)
  const back = await ada.context().newPage()
  await back.goto(`${server.url}/r/${room.id}/playback#t=${room.tokens.host}`)
  await back.waitForSelector(id('play'))
  await back.click('.file-tab:has-text("main.py")')
  // Near the end of the first run.
  const scrub = back.locator('.scrub')
  const box = await scrub.boundingBox()
  const run = await back.locator('.run-mark').first().boundingBox()
  await scrub.click({ position: { x: run.x + run.width * 0.96 - box.x, y: box.height / 2 } })
  await prints(back, '125 €')
  await back.screenshot({ path: join(out, 'playback.png') })
} finally {
  await browser.close()
  await server.stop()
}

async function person(room, role, { name, hue }, colorScheme) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 760 }, deviceScaleFactor: 2, colorScheme, reducedMotion: 'reduce' })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  await page.addInitScript((me) => localStorage.setItem('corun.identity', JSON.stringify({ ...me, chosen: true })), { name, hue })
  await page.goto(`${server.url}/r/${room.id}#t=${room.tokens[role]}`)
  await page.waitForSelector(`${id('connection')}[data-state=connected]`)
  await page.click('[role=treeitem]:has-text("bank.py"):not(:has-text("test"))')
  await page.click('[role=treeitem]:has-text("main.py")')
  await page.waitForFunction(() => document.querySelector('.cm-content')?.textContent.includes('from bank'))
  return page
}

/** Puts the cursor into the line that begins so. */
async function goTo(page, words) {
  const line = page.locator('.cm-line', { hasText: words }).first()
  await line.click({ position: { x: 12, y: 8 } })
}

function prints(page, words) {
  return page.waitForFunction((want) => [...document.querySelectorAll('.xterm-rows > div')].some((row) => row.textContent.includes(want)), words)
}

/** While the name still stands at the other's cursor. */
async function picture(page, name, other) {
  await other.keyboard.press('Shift+ArrowRight')
  await other.keyboard.press('Shift+ArrowLeft')
  await page.waitForSelector('.remote-caret.active')
  await page.mouse.move(640, 700)
  await page.screenshot({ path: join(out, `${name}.png`) })
}
