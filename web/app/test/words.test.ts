import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as Y from 'yjs'
import { checkPath, listFiles, newFile, setLanguage, textOf } from '../src/doc/files.ts'
import { covers, fromBase64 } from '../src/doc/vector.ts'
import { cleanName } from '../src/identity.ts'
import { parseRoomLink, roomLink } from '../src/links.ts'
import type { Run } from '../src/live/messages.ts'
import { bytes, duration, verdict } from '../src/strings.ts'

test('a room link is read and written', () => {
  const link = { room: 'abc123', token: 'T-_1', playback: false }
  assert.deepEqual(parseRoomLink('https://x.example/r/abc123#t=T-_1', 'https://y.example'), link)
  assert.deepEqual(parseRoomLink(' /r/abc123/#t=T-_1 ', 'https://y.example'), link)
  assert.deepEqual(parseRoomLink('/r/open.room', 'https://y.example'), { room: 'open.room', token: '', playback: false })
  for (const bad of ['', '/', 'https://x/', '/r/', '/r/a/b', '/r/a%2Fb', 'http://[']) assert.equal(parseRoomLink(bad, 'https://y.example'), null)
  assert.deepEqual(parseRoomLink(roomLink('https://z', 'abc123', 'T-_1'), 'https://y.example'), link)
  assert.deepEqual(parseRoomLink('/r/abc/playback#t=x', 'http://h'), { room: 'abc', token: 'x', playback: true })
  assert.equal(parseRoomLink('/r/abc/other', 'http://h'), null)
})

test('names are trimmed, cleaned and cut to the bytes the server takes', () => {
  assert.equal(cleanName('  Ada\u0007\u202e L '), 'Ada L')
  assert.equal(cleanName('   '), '')
  const long = cleanName('é😀'.repeat(40))
  assert.ok(new TextEncoder().encode(long).length <= 64)
  assert.ok(!long.includes('\ufffd'))
})

test('sizes and times in words', () => {
  assert.deepEqual([0, 1023, 1024, 9.96 * 1024, 268435456, 1.5 * 2 ** 30].map(bytes), ['0 B', '1023 B', '1.0 KiB', '10.0 KiB', '256 MiB', '1.5 GiB'])
  assert.deepEqual([0.2, 12.4, 999.4, 1_234, 12_340, 61_000].map(duration), ['<1 ms', '12 ms', '999 ms', '1.23 s', '12.3 s', '1 min 1 s'])
})

test('every way to end has words', () => {
  const ended = (more: Partial<Run>): Run => ({
    number: 1, language: 'python', entry: 'main.py', mode: 'terminal', state: 'finished', started_by: 'a', started_by_name: 'A', ...more,
  })
  assert.deepEqual(verdict(ended({ status: 'exited', exit_code: 0 })), { tone: 'good', head: 'Finished', detail: 'exit status 0' })
  assert.deepEqual(verdict(ended({ status: 'exited', exit_code: 3 })), { tone: 'bad', head: 'Finished', detail: 'exit status 3' })
  assert.equal(verdict(ended({ status: 'stopped' })).tone, 'plain')
  assert.equal(verdict(ended({ status: 'signaled', signal: 'SIGSEGV' })).head, 'Ended by SIGSEGV')
  for (const status of ['compile_failed', 'timeout', 'cpu_limit', 'memory_limit', 'output_limit', 'lost', 'failed'] as const) {
    const v = verdict(ended({ status, message: 'because' }))
    assert.ok(v.head.length > 3 && v.detail === 'because' && v.tone === 'bad')
  }
})

test('saved means that all of the document is covered', () => {
  const doc = new Y.Doc()
  const text = doc.getText('file/main')
  text.insert(0, 'abc')
  const saved = Y.encodeStateVector(doc)
  assert.ok(covers(saved, Y.encodeStateVector(doc)))
  text.insert(3, 'd')
  assert.ok(!covers(saved, Y.encodeStateVector(doc)))
  assert.ok(!covers(Y.encodeStateVector(new Y.Doc()), saved))
  assert.deepEqual([...fromBase64('AAEC/w==')], [0, 1, 2, 255])
})

test('paths are checked before they reach the others', () => {
  const others = [{ id: 'main', path: 'main.py' }, { id: 'x', path: 'lib/x.py' }]
  for (const good of ['a.py', 'lib/y.py', 'ünï.py', 'a b.txt']) assert.equal(checkPath(good, others), null, good)
  for (const bad of ['', '/etc/passwd', '../up', 'a/../b', 'a//b', './a', 'a\nb', 'main.py', 'lib', 'main.py/x', 'é'.repeat(200)]) {
    assert.notEqual(checkPath(bad, others), null, bad)
  }
})

test('the first file is main; the language renames only a lone file with the usual name', () => {
  const doc = new Y.Doc()
  assert.equal(newFile(doc, 'main.py'), 'main')
  textOf(doc, 'main').insert(0, 'x')
  setLanguage(doc, 'bash', 'main.py', 'main.sh')
  assert.deepEqual(listFiles(doc), [{ id: 'main', path: 'main.sh' }])
  const second = newFile(doc, 'a.txt')
  assert.match(second, /^[A-Za-z0-9_-]{12}$/)
  setLanguage(doc, 'python', 'main.sh', 'main.py')
  assert.deepEqual(listFiles(doc).map((f) => f.path), ['a.txt', 'main.sh'])
  doc.getMap('files').set('odd', 'not an object')
  assert.equal(listFiles(doc).length, 2)
})
