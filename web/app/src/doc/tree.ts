// The file tree: folders follow from the paths of the files.
import { checkPath, type FileEntry } from './files.ts'

export type TreeRow =
  | { kind: 'folder'; path: string; name: string; level: number; open: boolean }
  | { kind: 'file'; path: string; name: string; level: number; file: FileEntry }

export const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))
export const joinPath = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`)
export const isInside = (path: string, folder: string): boolean => folder === '' || path.startsWith(`${folder}/`)

/** The tree's rows from top to bottom: folders before files, without what lies in closed folders. */
export function treeRows(files: readonly FileEntry[], closed: ReadonlySet<string>, folder = '', level = 1): TreeRow[] {
  const folders = new Set<string>()
  const here: FileEntry[] = []
  for (const file of files) {
    const rest = folder === '' ? file.path : file.path.slice(folder.length + 1)
    const slash = rest.indexOf('/')
    if (slash < 0) here.push(file)
    else folders.add(rest.slice(0, slash))
  }
  const rows: TreeRow[] = []
  for (const name of [...folders].sort()) {
    const path = joinPath(folder, name)
    const open = !closed.has(path)
    rows.push({ kind: 'folder', path, name, level, open })
    if (open) rows.push(...treeRows(files.filter((f) => isInside(f.path, path)), closed, path, level + 1))
  }
  for (const file of here) rows.push({ kind: 'file', path: file.path, name: baseName(file.path), level, file })
  return rows
}

export interface Move {
  id: string
  path: string
}

/** What it takes to rename a file or a whole folder; a string says why that can't be. */
export function planMove(files: readonly FileEntry[], from: string, to: string): Move[] | string {
  const moving = files.filter((f) => f.path === from || isInside(f.path, from))
  const staying = files.filter((f) => !moving.includes(f))
  const moves: Move[] = []
  for (const file of moving) {
    const path = to + file.path.slice(from.length)
    const wrong = checkPath(path, staying)
    if (wrong !== null) return wrong
    moves.push({ id: file.id, path })
  }
  return moves
}
