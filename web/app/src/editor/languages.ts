// Grammars by file name; each is loaded when a file needs it.
import type { Extension } from '@codemirror/state'

const grammars: [RegExp, () => Promise<Extension>][] = [
  [/\.pyi?$/i, async () => (await import('@codemirror/lang-python')).python()],
  [/\.(m|c)?jsx?$/i, async () => (await import('@codemirror/lang-javascript')).javascript({ jsx: true })],
  [/\.(m|c)?tsx?$/i, async () => (await import('@codemirror/lang-javascript')).javascript({ jsx: true, typescript: true })],
  [/\.(ba)?sh$/i, async () => {
    const [{ StreamLanguage }, { shell }] = await Promise.all([
      import('@codemirror/language'), import('@codemirror/legacy-modes/mode/shell'),
    ])
    return StreamLanguage.define(shell)
  }],
]

/** The grammar for a path; plain text where there is none. */
export async function grammarFor(path: string): Promise<Extension> {
  const found = grammars.find(([pattern]) => pattern.test(path))
  return found === undefined ? [] : found[1]()
}

/** How far one level is indented, by the habits of the language. */
export function indentFor(path: string): string {
  return /\.(py|pyi|rs|java|cs|php)$/i.test(path) ? '    ' : /\.go$/i.test(path) ? '\t' : '  '
}
