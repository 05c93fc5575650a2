// How this person's runs begin: which file, with which arguments, in a terminal or with
// pipes. Kept for each room in this browser, and nobody else's business.
import { keep, load, local } from '../identity.ts'
import type { RunStart } from '../live/messages.ts'

export interface RunOptions {
  /** A file's path, or '' for the one that the room runs. */
  entry: string
  /** The arguments as they were typed. */
  args: string
  mode: 'terminal' | 'pipes'
  /** With pipes: all that the program gets to read. */
  stdin: string
}

export const defaultOptions: RunOptions = { entry: '', args: '', mode: 'terminal', stdin: '' }

const KEY = 'corun.run.'

export function loadOptions(room: string): RunOptions {
  const kept = load<Partial<RunOptions>>(local, KEY + room)
  const text = (value: unknown): string => (typeof value === 'string' ? value : '')
  return { entry: text(kept?.entry), args: text(kept?.args), mode: kept?.mode === 'pipes' ? 'pipes' : 'terminal', stdin: text(kept?.stdin) }
}

export const saveOptions = (room: string, options: RunOptions): void => keep(local, KEY + room, options)

export type Split = { args: string[] } | { unclosed: '"' | "'" | '\\' }

/**
 * Splits arguments as a shell does: at white space; 'single' and "double" quotes hold
 * them together, a backslash takes what follows as it is. Nothing is expanded.
 */
export function splitArgs(text: string): Split {
  const args: string[] = []
  let word: string | null = null
  let quote: '"' | "'" | '' = ''
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at)
    if (quote === "'") {
      if (char === "'") quote = ''
      else word += char
    } else if (char === '\\') {
      const next = text.charAt(++at)
      if (next === '') return { unclosed: '\\' }
      // Between double quotes a backslash is itself, but before what it can escape.
      word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next)
    } else if (quote === '"') {
      if (char === '"') quote = ''
      else word += char
    } else if (char === '"' || char === "'") {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== null) args.push(word)
      word = null
    } else {
      word = (word ?? '') + char
    }
  }
  if (quote !== '') return { unclosed: quote }
  if (word !== null) args.push(word)
  return { args }
}

/** Writes arguments so that splitArgs gives them again. */
export const joinArgs = (args: readonly string[]): string =>
  args.map((arg) => (/^[^\s'"\\]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`)).join(' ')

/** What run.start is told of the options; entry only while there is such a file. */
export function startFields(options: RunOptions, paths: readonly string[]): RunStart {
  const split = splitArgs(options.args)
  return {
    ...(paths.includes(options.entry) ? { entry: options.entry } : {}),
    ...('args' in split && split.args.length > 0 ? { args: split.args } : {}),
    ...(options.mode === 'pipes' ? { mode: 'pipes', stdin: options.stdin } : {}),
  }
}
