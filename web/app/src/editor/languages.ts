// Grammars by file name; each is loaded when a file needs it.
import type { StreamParser } from '@codemirror/language'
import type { Extension } from '@codemirror/state'

const grammars: [RegExp, () => Promise<Extension>][] = [
  [/\.pyi?$/i, async () => (await import('@codemirror/lang-python')).python()],
  [/\.(m|c)?jsx?$/i, async () => (await import('@codemirror/lang-javascript')).javascript({ jsx: true })],
  // Not one for both: in .ts a type in angle brackets is a cast, in .tsx an element.
  [/\.tsx$/i, async () => (await import('@codemirror/lang-javascript')).javascript({ jsx: true, typescript: true })],
  [/\.(m|c)?ts$/i, async () => (await import('@codemirror/lang-javascript')).javascript({ typescript: true })],
  [/\.php$/i, async () => (await import('@codemirror/lang-php')).php()],
  [/\.(ba)?sh$/i, async () => stream((await import('@codemirror/legacy-modes/mode/shell')).shell)],
  [/\.[ch]$/i, async () => stream((await import('@codemirror/legacy-modes/mode/clike')).c)],
  [/\.(cc|cpp|cxx|hpp|hh)$/i, async () => stream((await import('@codemirror/legacy-modes/mode/clike')).cpp)],
  [/\.cs$/i, async () => stream((await import('@codemirror/legacy-modes/mode/clike')).csharp)],
  [/\.java$/i, async () => stream((await import('@codemirror/legacy-modes/mode/clike')).java)],
  [/\.go$/i, async () => stream((await import('@codemirror/legacy-modes/mode/go')).go)],
  [/\.rs$/i, async () => stream((await import('@codemirror/legacy-modes/mode/rust')).rust)],
  [/\.rb$/i, async () => stream((await import('@codemirror/legacy-modes/mode/ruby')).ruby)],
  [/\.p[lm]$/i, async () => stream((await import('@codemirror/legacy-modes/mode/perl')).perl)],
  [/\.lua$/i, async () => stream((await import('@codemirror/legacy-modes/mode/lua')).lua)],
  [/\.sql$/i, async () => stream((await import('@codemirror/legacy-modes/mode/sql')).sqlite)],
  [/\.r$/i, async () => stream((await import('@codemirror/legacy-modes/mode/r')).r)],
]

async function stream(parser: StreamParser<unknown>): Promise<Extension> {
  const { StreamLanguage } = await import('@codemirror/language')
  return StreamLanguage.define(parser)
}

/** The grammar for a path; plain text where there is none. */
export async function grammarFor(path: string): Promise<Extension> {
  const found = grammars.find(([pattern]) => pattern.test(path))
  return found === undefined ? [] : found[1]()
}

/** Brackets that close themselves: which ones do is the grammar's to say, with which this comes. */
export async function bracketsClosed(): Promise<Extension> {
  const [{ closeBrackets, closeBracketsKeymap }, { keymap }] = await Promise.all([import('@codemirror/autocomplete'), import('@codemirror/view')])
  return [closeBrackets(), keymap.of(closeBracketsKeymap)]
}

/** How far one level is indented, by the habits of the language. */
export function indentFor(path: string): string {
  return /\.(py|pyi|rs|java|cs|php)$/i.test(path) ? '    ' : /\.go$/i.test(path) ? '\t' : '  '
}
