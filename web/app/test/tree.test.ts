import assert from 'node:assert/strict'
import test from 'node:test'
import { zipSync, strToU8 } from 'fflate'
import { planMove, treeRows } from '../src/doc/tree.ts'
import { admit, decodeText, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES } from '../src/doc/transfer.ts'
import { readZip, writeZip, ZipError } from '../src/doc/zip.ts'

const files = ['a.py', 'lib/x.py', 'lib/deep/y.py', 'z.py'].map((path, i) => ({ id: String(i), path }))

test('folders come before files and hide what is in them when closed', () => {
  assert.deepEqual(treeRows(files, new Set()).map((r) => [r.kind, r.path, r.level]), [
    ['folder', 'lib', 1], ['folder', 'lib/deep', 2], ['file', 'lib/deep/y.py', 3], ['file', 'lib/x.py', 2], ['file', 'a.py', 1], ['file', 'z.py', 1],
  ])
  assert.deepEqual(treeRows(files, new Set(['lib'])).map((r) => r.path), ['lib', 'a.py', 'z.py'])
})

test('a folder moves with all that is in it, and into nothing that is there', () => {
  assert.deepEqual(planMove(files, 'lib', 'src/lib'), [{ id: '1', path: 'src/lib/x.py' }, { id: '2', path: 'src/lib/deep/y.py' }])
  assert.match(String(planMove(files, 'lib', 'a.py')), /would be a folder/)
  assert.match(String(planMove(files, 'a.py', 'z.py')), /already/)
  assert.match(String(planMove(files, 'a.py', '../z.py')), /must be a name/)
  assert.match(String(planMove(files, 'a.py', 'b\\z.py')), /backslash/)
})

test('what is not text is none, and lines end alike', () => {
  assert.equal(decodeText(new Uint8Array([0xff, 0xfe])), null)
  assert.equal(decodeText(strToU8('a\0b')), null)
  assert.equal(decodeText(strToU8('a\r\nb\rc')), 'a\nb\nc')
})

test('what does not fit is left out with a reason each', () => {
  const big = new Uint8Array(MAX_FILE_BYTES + 1).fill(97)
  const { files: good, problems } = admit([
    { path: 'ok.py', bytes: strToU8('1') }, { path: 'a.py', bytes: strToU8('1') }, { path: '../up', bytes: strToU8('1') },
    { path: 'big', bytes: big }, { path: 'raw', bytes: new Uint8Array([0]) }, { path: 'ok.py', bytes: strToU8('2') },
  ], files, 0)
  assert.deepEqual(good, [{ path: 'ok.py', text: '1' }])
  assert.equal(problems.length, 5)
  const many = Array.from({ length: MAX_FILES + 1 }, (_, i) => ({ path: `f${i}`, bytes: strToU8('') }))
  assert.equal(admit(many, [], 0).files.length, MAX_FILES)
  assert.match(admit([{ path: 'n', bytes: strToU8('ab') }], [], MAX_TOTAL_BYTES - 1).problems[0] ?? '', /at most 4.0 MiB/)
})

test('an archive comes back as it was made', () => {
  const made = writeZip([{ path: 'lib/x.py', text: 'ä\n' }, { path: 'empty', text: '' }])
  assert.deepEqual(readZip(made).map((f) => [f.path, decodeText(f.bytes)]), [['lib/x.py', 'ä\n'], ['empty', '']])
})

test('archives that are bombs, lead out, or are damaged are refused', () => {
  const refused = (archive: Uint8Array, why: RegExp): void => {
    assert.throws(() => readZip(archive), (err) => err instanceof ZipError && why.test(err.message))
  }
  const bomb = zipSync({ a: new Uint8Array(16 << 20) })
  assert.ok(bomb.length < 1 << 20)
  refused(bomb, /unpacks to more/)
  // One that says that it is small.
  const liar = bomb.slice()
  const view = new DataView(liar.buffer)
  view.setUint32(22, 10, true)
  refused(liar, /unpacks to more/)
  for (const name of ['../x', 'a/../../x', '/etc/x', 'C:/x', 'a\\b']) refused(zipSync({ [name]: strToU8('x') }), /leads out/)
  refused(zipSync(Object.fromEntries(Array.from({ length: MAX_FILES + 1 }, (_, i) => [`f${i}`, strToU8('')]))), /more than 200 files/)
  refused(strToU8('no archive'), /not a zip/)
  const cut = writeZip([{ path: 'x', text: 'abc'.repeat(5000) + Math.PI }])
  refused(cut.subarray(0, 40), /damaged/)
})
