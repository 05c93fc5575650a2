// Takes files from outside into the room, and gives the room's files out.
import { addFile, textOf } from '../doc/files.ts'
import { admit, MAX_TOTAL_BYTES, type Incoming } from '../doc/transfer.ts'
import { joinPath } from '../doc/tree.ts'
import { bytes, t } from '../strings.ts'
import type { RoomSession } from './session.ts'

/** What became of an upload, to be told. */
export interface Report {
  added: number
  problems: string[]
}

/** Reads what was chosen or dropped, unpacks archives, and adds what the room can take. */
export async function takeIn(session: RoomSession, chosen: readonly File[], folder: string): Promise<Report> {
  const incoming: Incoming[] = []
  const problems: string[] = []
  for (const file of chosen) {
    const path = joinPath(folder, file.name)
    try {
      if (/\.zip$/i.test(file.name)) {
        incoming.push(...(await unpack(file)).map((one) => ({ ...one, path: joinPath(folder, one.path) })))
      } else if (file.size > MAX_TOTAL_BYTES) {
        // Not read at all: it could be of any size.
        problems.push(t.files.leftOut(path, t.files.tooLarge(bytes(file.size), bytes(MAX_TOTAL_BYTES))))
      } else {
        incoming.push({ path, bytes: new Uint8Array(await file.arrayBuffer()) })
      }
    } catch (err) {
      problems.push(t.files.leftOut(path, err instanceof Error && err.name !== 'NotReadableError' ? err.message : t.files.unreadable))
    }
  }
  const { doc } = session.doc
  const present = session.doc.files.value
  const used = present.reduce((n, f) => n + textOf(doc, f.id).length, 0)
  const admitted = admit(incoming, present, used)
  // A change for each file: one for all could be too large a message.
  const ids = admitted.files.map(({ path, text }) => addFile(doc, path, text))
  const [only, ...more] = ids
  if (only !== undefined && more.length === 0) session.openFile.value = only
  return { added: ids.length, problems: [...problems, ...admitted.problems] }
}

async function unpack(file: File): Promise<Incoming[]> {
  const { readZip, ZipError } = await import('../doc/zip.ts')
  if (file.size > MAX_TOTAL_BYTES * 2) throw new ZipError(t.files.zipTooLarge(bytes(MAX_TOTAL_BYTES)))
  const files = readZip(new Uint8Array(await file.arrayBuffer()))
  if (files.length === 0) throw new ZipError(t.files.zipEmpty)
  return files
}

/** Hands the room's files to the browser as one archive. */
export async function downloadAll(session: RoomSession): Promise<void> {
  const { writeZip } = await import('../doc/zip.ts')
  const all = session.doc.files.value.map((f) => ({ path: f.path, text: textOf(session.doc.doc, f.id).toString() }))
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([writeZip(all)], { type: 'application/zip' }))
  link.download = `${(session.title.value || t.untitled).replace(/[^\p{L}\p{N} _-]+/gu, ' ').trim() || t.product}.zip`
  link.click()
  URL.revokeObjectURL(link.href)
}
