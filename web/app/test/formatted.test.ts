// A formatted text becomes the fewest changes of a shared one, beside what others type.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as Y from 'yjs'
import { hunksOf, Since } from '../src/doc/formatted.ts'
import { historyOf } from '../src/editor/undo.ts'
import { unformattable } from '../src/room/unformattable.ts'
import type { Language } from '../src/live/messages.ts'

const before = 'def f( a,b ):\n  return a+b\n\n\n\nprint(f( 1,2 ))\n'
const after = 'def f(a, b):\n    return a + b\n\n\nprint(f(1, 2))\n'

function shared(text: string): { doc: Y.Doc; text: Y.Text } {
  const doc = new Y.Doc()
  doc.getText('file/main').insert(0, text)
  return { doc, text: doc.getText('file/main') }
}

test('the text becomes the formatted one, by few changes', async () => {
  const { doc, text } = shared(before)
  const since = new Since(text)
  const hunks = await hunksOf(before, after)
  assert.ok(hunks.length > 3)
  assert.ok(hunks.reduce((n, h) => n + h.insert.length + h.to - h.from, 0) < before.length / 2)
  let updates = 0
  doc.on('update', () => { updates++ })
  since.apply(hunks)
  since.stop()
  assert.equal(text.toString(), after)
  assert.equal(updates, 1)
})

test('a place in the text stays at its character', async () => {
  const { doc, text } = shared(before)
  const place = Y.createRelativePositionFromTypeIndex(text, before.indexOf('print'))
  const since = new Since(text)
  since.apply(await hunksOf(before, after))
  assert.equal(Y.createAbsolutePositionFromRelativePosition(place, doc)?.index, after.indexOf('print'))
})

test('what others typed meanwhile stays', async () => {
  const { text } = shared(before)
  const since = new Since(text)
  text.insert(before.length, '# at the end\n')
  text.insert(before.indexOf('return'), 'x = 1; ')
  text.insert(0, '# at the start\n')
  text.delete(text.toString().indexOf('print'), 'print'.length)
  text.insert(text.toString().indexOf('(f('), 'show')
  since.apply(await hunksOf(before, after))
  assert.equal(text.toString(), '# at the start\ndef f(a, b):\n    x = 1; return a + b\n\n\nshow(f(1, 2))\n# at the end\n')
})

test('what others typed into what is taken away stays, and what they took away is not put back', async () => {
  const { text } = shared('a\n\n\n\nb  =  1\n')
  const since = new Since(text)
  text.insert(3, 'mine')
  const gone = text.toString().indexOf('b  =  1')
  text.delete(gone, 'b  =  1\n'.length)
  since.apply(await hunksOf('a\n\n\n\nb  =  1\n', 'a\n\n\nb = 1\n'))
  assert.match(text.toString(), /mine/)
  assert.doesNotMatch(text.toString(), /b/)
})

test('two copies that format at once agree, and lose nothing', async () => {
  const one = shared(before)
  const other = { doc: new Y.Doc() }
  Y.applyUpdate(other.doc, Y.encodeStateAsUpdate(one.doc))
  const text = other.doc.getText('file/main')
  const since = new Since(one.text)
  text.insert(text.length, 'last\n')
  since.apply(await hunksOf(before, after))
  Y.applyUpdate(one.doc, Y.encodeStateAsUpdate(other.doc))
  Y.applyUpdate(other.doc, Y.encodeStateAsUpdate(one.doc))
  assert.equal(text.toString(), after + 'last\n')
  assert.equal(one.text.toString(), text.toString())
})

test('it is one step of undo, apart from what was typed just before and after', async () => {
  const { doc, text } = shared(before)
  const undo = historyOf(text)
  const typing = {}
  undo.trackedOrigins.add(typing)
  doc.transact(() => text.insert(text.length, 'typed before\n'), typing)
  const typed = text.toString()
  const since = new Since(text)
  since.apply(await hunksOf(typed, `${after}typed before\n`))
  doc.transact(() => text.insert(text.length, 'typed after\n'), typing)
  undo.undo()
  assert.equal(text.toString(), `${after}typed before\n`)
  undo.undo()
  assert.equal(text.toString(), typed)
  undo.undo()
  assert.equal(text.toString(), before)
  undo.redo()
  undo.redo()
  assert.equal(text.toString(), `${after}typed before\n`)
})

test('why a file cannot be formatted', () => {
  const language = (name: string, extension: string, format: boolean): Language => ({
    name, version: '1', aliases: [], extensions: [extension], entry: `main${extension}`, format,
  })
  const all = [language('go', '.go', true), language('lua', '.lua', false)]
  assert.equal(unformattable('cmd/Main.GO', all), '')
  assert.match(unformattable('a.lua', all), /no formatter for Lua/)
  for (const path of ['README', 'notes.txt', '.go/x', 'go']) assert.match(unformattable(path, all), /no language/, path)
})
