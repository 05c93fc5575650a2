import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as Y from 'yjs'
import { bytesLeft, Chat, type ChatClientMessage, type ChatMessage } from '../src/live/chat.ts'
import { Tests, type TestCase } from '../src/live/tests.ts'
import type { Run } from '../src/live/messages.ts'
import { Gather } from '../src/room/gather.ts'
import { anchorOf, fromAnchor, lineAt, lineStart } from '../src/room/navigation.ts'
import { caseOf, draftOf, emptyDraft, problemOf } from '../src/tests/draft.ts'
import { diff, linesFor, visible } from '../src/tests/diff.ts'

const said = (id: string, text: string, by = 'p_other'): ChatMessage =>
  ({ id, at: '2026-01-31T12:00:00Z', by: { id: by, name: 'Gus', hue: 1, role: 'guest' }, text, links: [] })

function chat(connected = true) {
  const sent: ChatClientMessage[] = []
  return { sent, chat: new Chat((msg) => { sent.push(msg); return connected }, 'offline') }
}

test('a chat counts what others say while it is shut, and what came while the page was away', () => {
  const { chat: c } = chat()
  c.restore([said('a', 'before')], 'p_me', false)
  assert.equal(c.unread.value, 0, 'what was there at the beginning is no news')
  c.add(said('b', 'news'), undefined, 'p_me', false)
  c.add(said('c', 'mine', 'p_me'), undefined, 'p_me', false)
  c.add(said('d', 'seen'), undefined, 'p_me', true)
  assert.equal(c.unread.value, 1)
  c.restore([said('a', 'before'), said('b', 'news'), said('c', 'mine', 'p_me'), said('d', 'seen'), said('e', 'missed')], 'p_me', false)
  assert.equal(c.unread.value, 2)
  c.read()
  c.removed('e')
  assert.equal(c.unread.value, 0)
  assert.deepEqual(c.messages.value.map((m) => m.id), ['a', 'b', 'c', 'd'])
})

test('a draft goes when it has arrived, and stays when it was refused or could not be sent', () => {
  const { chat: c, sent } = chat()
  c.restore([], 'p_me', true)
  c.draft.value = ' hello '
  c.link({ run: 3 })
  c.link({ run: 3 })
  c.send()
  assert.deepEqual(sent, [{ type: 'chat', text: 'hello', links: [{ run: 3 }], ref: 'chat-1' }])
  c.send()
  assert.equal(sent.length, 1, 'once')
  c.add(said('x', 'hello', 'p_me'), 'chat-1', 'p_me', true)
  assert.deepEqual([c.draft.value, c.links.value, c.sending.value], ['', [], false])

  c.draft.value = 'again'
  c.send()
  assert.equal(c.refused('chat-1', 'old'), false)
  assert.equal(c.refused('chat-2', 'too fast'), true)
  assert.deepEqual([c.draft.value, c.problem.value], ['again', 'too fast'])

  // The connection broke: it is among what the server has, or it was lost.
  c.send()
  c.restore([said('y', 'again', 'p_me')], 'p_me', true)
  assert.deepEqual([c.draft.value, c.sending.value], ['', false])
  c.draft.value = 'lost'
  c.send()
  c.restore([said('y', 'again', 'p_me')], 'p_me', true)
  assert.deepEqual([c.draft.value, c.sending.value], ['lost', false])

  const away = chat(false).chat
  away.draft.value = 'hello'
  away.send()
  assert.deepEqual([away.draft.value, away.problem.value, away.sending.value], ['hello', 'offline', false])
})

test('a text is measured in bytes, as the server does', () => {
  assert.equal(bytesLeft(' ä '), 3_998)
  assert.equal(bytesLeft('x'.repeat(4_001)), -1)
})

test('places: lines and indexes, and anchors that stay with their text', () => {
  const text = 'one\ntwo\nthree'
  assert.deepEqual([1, 2, 3, 9].map((n) => lineStart(text, n)), [0, 4, 8, 8])
  assert.deepEqual([0, 3, 4, 13].map((i) => lineAt(text, i)), [1, 1, 2, 3])
  const doc = new Y.Doc()
  const main = doc.getText('file/main')
  main.insert(0, text)
  const anchor = anchorOf(main, 4)
  main.insert(0, 'zero\n')
  assert.equal(fromAnchor(doc, 'main', anchor), 9)
  assert.equal(fromAnchor(doc, 'other', anchor), null)
  assert.equal(fromAnchor(doc, 'main', 'no base64!'), null)
  // In a page that has not looked at that text yet.
  const copy = new Y.Doc()
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc))
  assert.equal(fromAnchor(copy, 'main', anchor), 9)
})

test('a difference shows what is missing and what is too much', () => {
  const kinds = (a: string, b: string) => diff(a.split(' '), b.split(' '))?.map((l) => `${l.kind[0]}${l.text}`).join(' ')
  assert.equal(kinds('a b c', 'a b c'), 'sa sb sc')
  assert.equal(kinds('a b c', 'a x c'), 'sa mb ex sc')
  assert.equal(kinds('a b c d', 'b c d e'), 'ma sb sc sd ee')
  assert.equal(kinds('a a', 'a'), 'sa ma')
  assert.equal(diff([], ['x'])?.length, 1)
  assert.equal(diff(Array.from({ length: 1000 }, (_, i) => `a${i}`), Array.from({ length: 1000 }, (_, i) => `b${i}`)), null)
  assert.deepEqual(linesFor('trimmed', 'a  \r\nb\n\n'), ['a', 'b'])
  assert.deepEqual(linesFor('exact', 'a  \n'), ['a  ', ''])
  assert.equal(visible('a b \t'), 'a b·→')
})

const whole: TestCase = {
  id: 't1', name: 'One', hidden: true, points: 2.5, stdin: '1\n', args: ['-x', 'a b', 'two\nlines', `it's "so"`, '', '\\'], match: 'numeric', expected: '3', tolerance: 0.5,
  limits: { wall_ms: 1500, memory_bytes: 64 << 20 },
}

test('a case goes through the form unchanged', () => {
  assert.deepEqual(caseOf(draftOf(whole, 'python')), whole)
  const checked: TestCase = { id: 't2', name: 'C', hidden: false, points: 0, stdin: '', args: [], match: 'checker', expected: '', checker: { language: 'c', files: [{ path: 'main.c', content: '' }] } }
  assert.deepEqual(caseOf(draftOf(checked, 'python')), checked)
})

test('what is wrong in the form is found with its field', () => {
  const draft = emptyDraft('New', 'python')
  assert.equal(problemOf(draft), null)
  for (const [field, value, more] of [
    ['name', 'a\nb', {}], ['name', 'ä'.repeat(101), {}], ['points', '', {}], ['points', '-1', {}], ['points', 'many', {}],
    ['tolerance', 'x', { match: 'numeric' }], ['checkerSource', ' ', { match: 'checker' }], ['wall', '0', {}], ['cpu', 'fast', {}], ['memory', '-3', {}],
  ] as const) {
    assert.equal(problemOf({ ...draft, [field]: value, ...more })?.field, field, `${field}: ${value}`)
  }
  assert.equal(caseOf({ ...draft, points: '1,5', tolerance: '1e-3', match: 'numeric' }).points, 1.5)
})

const runOf = (number: number, mode: Run['mode'], tests?: Run['tests']): Run => ({
  number, mode, language: 'python', entry: 'main.py', state: 'running', started_by: 'p', started_by_name: 'P', ...(tests === undefined ? {} : { tests }),
})
const result = (id: string, passed: boolean) => ({ id, name: id, hidden: true, passed, points: passed ? 1 : 0 })
const summary = { total: 2, done: 1, passed: 1, failed: 0, points: 1, max_points: 2 }

test('results are those of the last run of tests, whatever runs besides', async () => {
  const asked: number[] = []
  const tests = new Tests({
    cases: async () => [whole], lastRun: async () => 4,
    results: async (run) => { asked.push(run); return { tests: summary, results: [result(`of ${run}`, true)] } },
  })
  tests.receive({ type: 'tests.updated', cases: [] })
  await new Promise(setImmediate)
  assert.equal(tests.cases.value.length, 1)
  tests.receive({ type: 'run.started', run: runOf(5, 'tests') })
  tests.receive({ type: 'test.result', run: runOf(5, 'tests', summary), case: result('a', true) })
  tests.receive({ type: 'test.result', run: runOf(4, 'tests'), case: result('late', false) })
  tests.receive({ type: 'run.started', run: runOf(6, 'terminal') })
  assert.deepEqual([...tests.results.value.keys()], ['a'])
  assert.equal(tests.summary.value?.passed, 1)
  tests.receive({ type: 'run.exited', run: runOf(5, 'tests', summary) })
  await new Promise(setImmediate)
  assert.deepEqual(asked, [5])
  assert.deepEqual([...tests.results.value.keys()], ['a', 'of 5'])
  tests.receive({ type: 'run.queued', run: runOf(7, 'tests'), position: 0 })
  assert.equal(tests.results.value.size, 0)
})

test('who is brought somewhere keeps the way back to where they were by themselves', () => {
  const went: string[] = []
  const me = new Gather(({ file }) => {
    if (file === 'gone') return false
    went.push(file)
    return { back: { file: `before ${went.length}`, at: 3 } }
  })
  const by = { id: 'p_host', name: 'Hanna', hue: 1, role: 'host' } as const
  me.receive({ type: 'bring', by, file: 'one', anchor: '' }, 'p_me')
  me.receive({ type: 'bring', by, file: 'own', anchor: '' }, 'p_host')
  me.receive({ type: 'bring', by: { ...by, name: 'Other' }, file: 'gone', anchor: '' }, 'p_me')
  me.receive({ type: 'bring', by, file: 'two', anchor: '' }, 'p_me')
  assert.deepEqual(went, ['one', 'two'])
  assert.deepEqual(me.brought.value, { by: 'Hanna', back: { file: 'before 1', at: 3 } })
})
