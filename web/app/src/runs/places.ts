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

/** SQL names no file: it is the only one there is of that kind. */
const sqlError = /\berror near line (\d+)(?:: (.*))?/
const sqlFile = (paths: readonly string[]): string => {
  const [only = '', ...more] = paths.filter((p) => p.endsWith('.sql'))
  return more.length === 0 ? only : ''
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
  const sql = sqlError.exec(text)
  if (sql !== null && found.length === 0 && sqlFile(paths) !== '') found.push({ path: sqlFile(paths), line: Number(sql[1]), column: 0, from: sql.index, to: sql.index + `error near line ${sql[1]}`.length })
  return found.sort((a, b) => a.from - b.from)
}

export type Severity = 'error' | 'warning' | 'info'

/** Something that a compiler says of a place. */
export interface Problem extends Place {
  severity: Severity
  message: string
}

/** What says all of a problem in one line, by who says so. A word tells how bad it is; without one it is an error. */
const messages: readonly RegExp[] = [
  // C, C++, Java
  /^(?<path>\S+?):(?<line>\d+):(?:(?<column>\d+):)? *(?<word>fatal error|error|warning|note): (?<message>.*)$/,
  // TypeScript, C#
  /^(?<path>\S+?)\((?<line>\d+),(?<column>\d+)\): (?<word>error|warning)(?: \w+)?: (?<message>.*?)(?: \[[^\]]*\])?$/,
  /^(?<path>\S+?):(?<line>\d+):(?<column>\d+) - (?<word>error|warning)(?: \w+)?: (?<message>.*)$/,
  // Go
  /^(?:vet: )?(?<path>\S+\.go):(?<line>\d+):(?:(?<column>\d+):)? (?<message>.*)$/,
  // Ruby
  /^(?<path>\S+?\.rb):(?<line>\d+): (?<message>syntax error.*)$/,
  // PHP
  /^(?:PHP )?Parse error: +(?<message>.*) in (?<path>\S+) on line (?<line>\d+)$/,
  // Perl
  /^(?<message>syntax error) at (?<path>\S+) line (?<line>\d+)/,
  // Lua
  /^\S*lua\S*: (?<path>\S+?):(?<line>\d+): (?<message>.* near .*)$/,
  // bash
  /^(?<path>\S+): line (?<line>\d+): (?<message>syntax error.*)$/,
]

/** Python and JavaScript name the place first. */
const placeAhead = [/^\s*File "([^"]+)", line (\d+)/, /^(?:file:\/\/)?(\S+\.[cm]?[jt]sx?):(\d+)$/]
const syntaxError = /^((?:Syntax|Indentation|Tab)Error: .*)$/

/** Rust says first what is wrong. */
const rustHead = /^(error|warning)(?:\[\w+\])?: (.*)$/
const rustPlace = /^\s*--> (\S+?):(\d+):(\d+)$/

const severityOf = (word: string): Severity => (/warn/i.test(word) ? 'warning' : /note/i.test(word) ? 'info' : 'error')

/** Java shows the column by a caret, two lines below. */
const caretBelow = (lines: readonly string[], at: number): string => String((lines[at + 2] ?? '').search(/^ *\^ *$/) < 0 ? 0 : (lines[at + 2] ?? '').indexOf('^') + 1)

/** What a compiler's messages say, line by line. */
export function findProblems(lines: readonly string[], paths: readonly string[]): Problem[] {
  const problems: Problem[] = []
  const add = (printed: string, line: string, column: string, severity: Severity, message: string): void => {
    const path = fileFor(printed, paths)
    if (path !== null && Number(line) > 0) problems.push({ path, line: Number(line), column: Number(column), severity, message: message.trim() })
  }
  let said: { severity: Severity; message: string } | null = null
  let ahead: { path: string; line: string } | null = null
  lines.forEach((line, at) => {
    const { path, line: number, column, word, message } = messages.map((pattern) => pattern.exec(line)?.groups).find((groups) => groups !== undefined) ?? {}
    if (path !== undefined) add(path, number ?? '', column ?? caretBelow(lines, at), severityOf(word ?? ''), message ?? '')
    const sql = sqlError.exec(line)
    if (sql !== null) add(sqlFile(paths), sql[1] ?? '', '0', 'error', sql[2] ?? '')
    const head = rustHead.exec(line)
    if (head !== null) said = { severity: severityOf(head[1] ?? ''), message: head[2] ?? '' }
    const place = rustPlace.exec(line)
    if (place !== null && said !== null) {
      add(place[1] ?? '', place[2] ?? '', place[3] ?? '0', said.severity, said.message)
      said = null // further places only explain the first
    }
    const file = placeAhead.map((pattern) => pattern.exec(line)).find((match) => match !== null)
    if (file != null) ahead = { path: file[1] ?? '', line: file[2] ?? '' }
    const syntax = syntaxError.exec(line)
    if (syntax !== null && ahead !== null) add(ahead.path, ahead.line, '0', 'error', syntax[1] ?? '')
  })
  return problems
}
