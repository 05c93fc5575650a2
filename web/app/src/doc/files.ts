// The files of a room's document: which there are, and changes to the list.
// Texts are root types of their own, so that a file that two people make at
// once never loses text; deleting a file leaves its text for undo and history.
import * as Y from 'yjs'
import { t } from '../strings.ts'

export interface FileEntry {
  id: string
  path: string
}

const filesMap = (doc: Y.Doc): Y.Map<unknown> => doc.getMap('files')
const roomMap = (doc: Y.Doc): Y.Map<unknown> => doc.getMap('room')

export const textOf = (doc: Y.Doc, id: string): Y.Text => doc.getText(`file/${id}`)

export function listFiles(doc: Y.Doc): FileEntry[] {
  const files: FileEntry[] = []
  filesMap(doc).forEach((value, id) => {
    if (typeof value === 'object' && value !== null && 'path' in value && typeof value.path === 'string') {
      files.push({ id, path: value.path })
    }
  })
  return files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.id < b.id ? -1 : 1))
}

export interface RoomMeta {
  language: string
  entry: string
  title: string
}

export function roomMeta(doc: Y.Doc): RoomMeta {
  const text = (key: string): string => {
    const value = roomMap(doc).get(key)
    return typeof value === 'string' ? value : ''
  }
  return { language: text('language'), entry: text('entry'), title: text('title') }
}

export function setMeta(doc: Y.Doc, key: keyof RoomMeta, value: string): void {
  roomMap(doc).set(key, value)
}

/** The longest path the server takes, in bytes of UTF-8. */
const MAX_PATH_BYTES = 255

/** What is wrong with a path, in words, or null. The server has the last word. */
export function checkPath(path: string, others: readonly FileEntry[]): string | null {
  if (path === '') return t.paths.none
  if (new TextEncoder().encode(path).length > MAX_PATH_BYTES) return t.paths.long(MAX_PATH_BYTES)
  if (path.startsWith('/')) return t.paths.absolute
  if (path.includes('\\')) return t.paths.backslash
  if (/\p{Cc}/u.test(path)) return t.paths.control
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    return t.paths.parts
  }
  for (const other of others) {
    if (other.path === path) return t.paths.taken(path)
    if (other.path.startsWith(path + '/') || path.startsWith(other.path + '/')) {
      return t.paths.folder(path, other.path)
    }
  }
  return null
}

export function newFile(doc: Y.Doc, path: string): string {
  const id = listFiles(doc).length === 0 && textOf(doc, 'main').length === 0 ? 'main' : randomId()
  filesMap(doc).set(id, { path })
  return id
}

/** A new file that holds a text already. */
export function addFile(doc: Y.Doc, path: string, text: string): string {
  let id = ''
  doc.transact(() => {
    id = newFile(doc, path)
    if (text !== '') textOf(doc, id).insert(0, text)
  })
  return id
}

export function renameFile(doc: Y.Doc, id: string, path: string): void {
  filesMap(doc).set(id, { path })
}

export function deleteFile(doc: Y.Doc, id: string): void {
  filesMap(doc).delete(id)
}

/**
 * Changes the room's language. A lone file that bears the old language's usual
 * name gets the new one's, so that Run finds it.
 */
export function setLanguage(doc: Y.Doc, name: string, oldEntry: string | undefined, newEntry: string): void {
  doc.transact(() => {
    setMeta(doc, 'language', name)
    const [only, ...more] = listFiles(doc)
    if (only !== undefined && more.length === 0 && only.path === oldEntry) renameFile(doc, only.id, newEntry)
  })
}

function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(9))
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_')
}
