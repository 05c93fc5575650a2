// Binary frames on /live.
//
//   output  u8 stream (1 stdout, 2 stderr, 3 pty), u32 BE run number,
//           u64 BE offset of the first byte in that stream, bytes
//   input   u8 0, u32 BE run number, bytes

export const STDOUT = 1
export const STDERR = 2
export const PTY = 3

export type Stream = typeof STDOUT | typeof STDERR | typeof PTY

export interface OutputFrame {
  stream: Stream
  run: number
  /** Where data begins in its stream, in bytes. */
  offset: number
  data: Uint8Array
}

const OUTPUT_HEAD_BYTES = 13
const INPUT_HEAD_BYTES = 5

/** Reads an output frame; null when it is not one. data is a view, not a copy. */
export function decodeOutput(buffer: ArrayBuffer): OutputFrame | null {
  if (buffer.byteLength < OUTPUT_HEAD_BYTES) return null
  const view = new DataView(buffer)
  const stream = view.getUint8(0)
  if (stream !== STDOUT && stream !== STDERR && stream !== PTY) return null
  const offset = Number(view.getBigUint64(5))
  if (!Number.isSafeInteger(offset)) return null
  return { stream, run: view.getUint32(1), offset, data: new Uint8Array(buffer, OUTPUT_HEAD_BYTES) }
}

export function encodeInput(run: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(INPUT_HEAD_BYTES + data.length)
  new DataView(frame.buffer).setUint32(1, run)
  frame.set(data, INPUT_HEAD_BYTES)
  return frame
}

/**
 * Follows the offsets of one run's streams, so that output which the server
 * sends again after a reconnect is shown once.
 */
export class OutputCursor {
  private run = 0
  private readonly seen = new Map<Stream, number>()

  /** Gives what is new in a frame, and whether it is the first of another run. */
  accept(frame: OutputFrame): { fresh: Uint8Array; newRun: boolean } {
    const newRun = this.follow(frame.run)
    const known = this.seen.get(frame.stream) ?? 0
    const end = frame.offset + frame.data.length
    if (end > known) this.seen.set(frame.stream, end)
    // Past known is a gap that run.truncated told of: what came is still new.
    const fresh = frame.data.subarray(Math.min(frame.data.length, Math.max(0, known - frame.offset)))
    return { fresh, newRun }
  }

  /** Takes whatever comes for new. */
  forget(): void {
    this.run = 0
    this.seen.clear()
  }

  /** Turns to a run; true when it is another one than before. */
  follow(run: number): boolean {
    if (run === this.run) return false
    this.run = run
    this.seen.clear()
    return true
  }
}
