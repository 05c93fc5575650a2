// Files that come from outside: which of them the room can take, and why not
// the others. The limits are the server's.
import { bytes, t } from '../strings.ts'
import { checkPath, type FileEntry } from './files.ts'

export const MAX_FILES = 200
export const MAX_TOTAL_BYTES = 4 << 20
/** What one change of the document can carry with room to spare. */
export const MAX_FILE_BYTES = 768 << 10

export interface Incoming {
  path: string
  bytes: Uint8Array
}

export interface Admitted {
  files: { path: string; text: string }[]
  problems: string[]
}

/**
 * The text of bytes, or null where they are none. Lines end in LF alone: an editor's
 * positions would differ from the document's otherwise.
 */
export function decodeText(data: Uint8Array): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(data)
    return text.includes('\0') ? null : text.replace(/\r\n?/g, '\n')
  } catch {
    return null
  }
}

/** Sorts what comes in into what fits and what does not. used is the room's size so far. */
export function admit(incoming: readonly Incoming[], present: readonly FileEntry[], used: number): Admitted {
  const files: Admitted['files'] = []
  const problems: string[] = []
  const all: FileEntry[] = [...present]
  let total = used
  for (const { path, bytes: data } of incoming) {
    const wrong = checkPath(path, all)
    const text = decodeText(data)
    if (wrong !== null) problems.push(t.files.leftOut(path, wrong))
    else if (data.length > MAX_FILE_BYTES) problems.push(t.files.leftOut(path, t.files.tooLarge(bytes(data.length), bytes(MAX_FILE_BYTES))))
    else if (text === null) problems.push(t.files.leftOut(path, t.files.notText))
    else if (all.length >= MAX_FILES) problems.push(t.files.leftOut(path, t.files.tooMany(MAX_FILES)))
    else if (total + data.length > MAX_TOTAL_BYTES) problems.push(t.files.leftOut(path, t.files.roomFull(bytes(MAX_TOTAL_BYTES))))
    else {
      total += data.length
      all.push({ id: '', path })
      files.push({ path, text })
    }
  }
  return { files, problems }
}
