// Zip archives of a room's files. This module and the library come only when
// somebody wants one.
import { Unzip, UnzipInflate, strToU8, zipSync } from 'fflate'
import { bytes, t } from '../strings.ts'
import { MAX_FILES, MAX_TOTAL_BYTES, type Incoming } from './transfer.ts'

/** An archive in our words for what is wrong with it. */
export class ZipError extends Error {}

/** Small, so that what a bomb unpacks to before it is noticed is small too. */
const PIECE_BYTES = 4 << 10
const JUNK = /(^|\/)(__MACOSX\/|\.DS_Store$|Thumbs\.db$)/

export function writeZip(files: readonly { path: string; text: string }[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(zipSync(Object.fromEntries(files.map((f) => [f.path, strToU8(f.text)])), { level: 6 }))
}

/**
 * Unpacks an archive. One that leads out of its folder or is too much for a room is
 * refused whole: what it says of its sizes is not believed, what comes out is counted.
 */
export function readZip(archive: Uint8Array): Incoming[] {
  if (archive.length > MAX_TOTAL_BYTES * 2) throw new ZipError(t.files.zipTooLarge(bytes(MAX_TOTAL_BYTES)))
  if (archive[0] !== 0x50 || archive[1] !== 0x4b) throw new ZipError(t.files.notZip)
  const files: Incoming[] = []
  let unpacked = 0
  let open = 0
  const unzip = new Unzip((file) => {
    if (file.name.endsWith('/') || JUNK.test(file.name)) return
    if (/^[/\\]|^[A-Za-z]:|\\|(^|\/)\.\.(\/|$)/.test(file.name)) throw new ZipError(t.files.zipEscapes(file.name))
    const parts: Uint8Array[] = []
    if (++open > MAX_FILES) throw new ZipError(t.files.zipTooMany(MAX_FILES))
    file.ondata = (err, data, final) => {
      if (err !== null) throw err // the library hands on what is thrown below as well
      unpacked += data.length
      if (unpacked > MAX_TOTAL_BYTES) throw new ZipError(t.files.zipTooLarge(bytes(MAX_TOTAL_BYTES)))
      parts.push(data)
      if (!final) return
      files.push({ path: file.name, bytes: concat(parts) })
    }
    file.start()
  })
  unzip.register(UnzipInflate)
  try {
    for (let at = 0; at < archive.length; at += PIECE_BYTES) {
      unzip.push(archive.subarray(at, at + PIECE_BYTES), at + PIECE_BYTES >= archive.length)
    }
  } catch (err) {
    throw err instanceof ZipError ? err : new ZipError(t.files.notZip)
  }
  if (files.length < open) throw new ZipError(t.files.notZip) // cut off
  return files
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
