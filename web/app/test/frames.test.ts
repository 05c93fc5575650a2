import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeOutput, encodeInput, OutputCursor, PTY, STDERR, STDOUT, type OutputFrame, type Stream } from '../src/live/frames.ts'

function encodeOutput(stream: number, run: number, offset: bigint, text: string): ArrayBuffer {
  const data = new TextEncoder().encode(text)
  const frame = new Uint8Array(13 + data.length)
  const view = new DataView(frame.buffer)
  view.setUint8(0, stream)
  view.setUint32(1, run)
  view.setBigUint64(5, offset)
  frame.set(data, 13)
  return frame.buffer
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const frame = (run: number, offset: number, s: string, stream: Stream = PTY): OutputFrame =>
  ({ stream, run, offset, data: new TextEncoder().encode(s) })

test('an output frame is read by its layout', () => {
  const got = decodeOutput(encodeOutput(3, 0x01020304, 0x1_0000_0005n, 'hé'))
  assert.ok(got)
  assert.deepEqual([got.stream, got.run, got.offset, text(got.data)], [3, 0x01020304, 0x1_0000_0005, 'hé'])
  assert.equal(decodeOutput(encodeOutput(1, 1, 0n, ''))?.data.length, 0)
})

test('what is no output frame is null', () => {
  assert.equal(decodeOutput(new ArrayBuffer(0)), null)
  assert.equal(decodeOutput(new ArrayBuffer(12)), null)
  assert.equal(decodeOutput(encodeOutput(0, 1, 0n, 'x')), null)
  assert.equal(decodeOutput(encodeOutput(4, 1, 0n, 'x')), null)
  assert.equal(decodeOutput(encodeOutput(1, 1, 1n << 60n, 'x')), null)
})

test('an input frame is a zero, the run and the bytes', () => {
  assert.deepEqual([...encodeInput(258, new TextEncoder().encode('a\n'))], [0, 0, 0, 1, 2, 97, 10])
})

test('output that comes again is shown once', () => {
  const cursor = new OutputCursor()
  assert.deepEqual(cursor.accept(frame(1, 0, 'abc')).newRun, true)
  assert.equal(text(cursor.accept(frame(1, 0, 'abc')).fresh), '')
  assert.equal(text(cursor.accept(frame(1, 0, 'abcdef')).fresh), 'def')
  assert.equal(text(cursor.accept(frame(1, 6, 'g')).fresh), 'g')
})

test('a gap is passed over and the streams are counted apart', () => {
  const cursor = new OutputCursor()
  cursor.accept(frame(1, 0, 'out', STDOUT))
  assert.equal(text(cursor.accept(frame(1, 0, 'err', STDERR)).fresh), 'err')
  assert.equal(text(cursor.accept(frame(1, 100, 'far', STDOUT)).fresh), 'far')
  assert.equal(text(cursor.accept(frame(1, 50, 'old', STDOUT)).fresh), '')
})

test('another run starts from nothing, however it is heard of', () => {
  const cursor = new OutputCursor()
  cursor.accept(frame(1, 0, 'abc'))
  assert.equal(cursor.follow(1), false)
  assert.equal(cursor.follow(2), true)
  const { fresh, newRun } = cursor.accept(frame(2, 0, 'xyz'))
  assert.deepEqual([text(fresh), newRun], ['xyz', false])
})
