// Lines of the room's files that a program or a compiler names in what it prints.

export interface Place {
  path: string
  /** Counted from 1, as it was printed. */
  line: number
  /** Counted from 1; 0 where none was printed. */
  column: number
}

export interface FoundPlace extends Place {
  /** Where it stands in the text, from and to. */
  from: number
  to: number
}

const FILE = String.raw`(?:file:\/\/)?((?:[\w.@+~-]|\/(?!\/))+\.[A-Za-z]\w{0,9})`

/** What names a place, by whose habit. Groups: path, line, column. The first that matches at a place counts. */
const patterns: readonly RegExp[] = [
  // Python
  /File "([^"]+)", line (\d+)/,
  // C#, of a trace
  new RegExp(`${FILE}:line (\\d+)`),
  // PHP
  new RegExp(`${FILE}(?:\\(\\d+\\) : eval\\(\\)'d code)? on line (\\d+)`),
  // Perl; bash
  new RegExp(`${FILE}:? line (\\d+)`),
  // TypeScript and C#, of a compiler; PHP, of a trace
  new RegExp(`${FILE}\\((\\d+)(?:,(\\d+))?\\)`),
  // R
  new RegExp(`${FILE}#(\\d+)(?::(\\d+))?`),
  // C, C++, Go, Java, JavaScript, Lua, Ruby, Rust
  new RegExp(`${FILE}:(\\d+)(?::(\\d+))?`),
]

/** The files' folder in a box. */
const HOME = '/work/'

/** The file that a printed path stands for, of those there are. */
export function fileFor(printed: string, paths: readonly string[]): string | null {
  const path = (printed.startsWith(HOME) ? printed.slice(HOME.length) : printed).replace(/^(\.\/)+/, '')
  if (paths.includes(path)) return path
  // Java and others give the name without its folder.
  const named = paths.filter((p) => p.endsWith(`/${path}`))
  return named.length === 1 ? (named[0] ?? null) : null
}

/** The places in a line of output, in order. Only files of the room count, so that a time or an address is none. */
export function findPlaces(text: string, paths: readonly string[]): FoundPlace[] {
  const found: FoundPlace[] = []
  for (const pattern of patterns) {
    for (const match of text.matchAll(new RegExp(pattern, 'g'))) {
      const [all, printed = '', line = '', column = '0'] = match
      const path = fileFor(printed, paths)
      const from = match.index
      const to = from + all.length
      if (path === null || Number(line) < 1 || found.some((f) => from < f.to && f.from < to)) continue
      found.push({ path, line: Number(line), column: Number(column), from, to })
    }
  }
  return found.sort((a, b) => a.from - b.from)
}

export type Severity = 'error' | 'warning' | 'info'

/** Something that a compiler says of a place. */
export interface Problem extends Place {
  severity: Severity
  message: string
}

const severityOf = (word: string): Severity => (/error/i.test(word) ? 'error' : /warn/i.test(word) ? 'warning' : 'info')

const gcc = /^(\S+?):(\d+):(?:(\d+):)? *(fatal error|error|warning|note): (.*)$/
const parenthesized = /^(\S+?)\((\d+),(\d+)\): (error|warning)(?: \w+)?: (.*?)(?: \[[^\]]*\])?$/
const typescript = /^(\S+?):(\d+):(\d+) - (error|warning)(?: \w+)?: (.*)$/
const rustHead = /^(error|warning)(?:\[\w+\])?: (.*)$/
const rustPlace = /^\s*--> (\S+?):(\d+):(\d+)$/
const goStyle = /^(?:\.\/|vet: )?(\S+\.go):(\d+):(?:(\d+):)? (.*)$/
const pythonPlace = /^\s*File "([^"]+)", line (\d+)/
const pythonError = /^((?:Syntax|Indentation|Tab)Error: .*)$/

/** What a compiler's messages say, line by line. Notes come with what they are to. */
export function findProblems(lines: readonly string[], paths: readonly string[]): Problem[] {
  const problems: Problem[] = []
  const add = (printed: string, line: string, column: string | undefined, severity: Severity, message: string): void => {
    const path = fileFor(printed, paths)
    if (path !== null && Number(line) > 0) problems.push({ path, line: Number(line), column: Number(column ?? 0), severity, message: message.trim() })
  }
  let rust: { severity: Severity; message: string } | null = null
  let python: { path: string; line: string } | null = null
  for (const line of lines) {
    const usual = gcc.exec(line) ?? parenthesized.exec(line) ?? typescript.exec(line)
    if (usual !== null) {
      const [, path = '', at = '', column, word = '', message = ''] = usual
      add(path, at, column, severityOf(word), message)
      continue
    }
    const go = goStyle.exec(line)
    if (go !== null) {
      add(go[1] ?? '', go[2] ?? '', go[3], 'error', go[4] ?? '')
      continue
    }
    const head = rustHead.exec(line)
    if (head !== null) rust = { severity: severityOf(head[1] ?? ''), message: head[2] ?? '' }
    const place = rustPlace.exec(line)
    if (place !== null && rust !== null) {
      add(place[1] ?? '', place[2] ?? '', place[3], rust.severity, rust.message)
      rust = null // further places only explain the first
    }
    const file = pythonPlace.exec(line)
    if (file !== null) python = { path: file[1] ?? '', line: file[2] ?? '' }
    const syntax = pythonError.exec(line)
    if (syntax !== null && python !== null) add(python.path, python.line, undefined, 'error', syntax[1] ?? '')
  }
  return problems
}
