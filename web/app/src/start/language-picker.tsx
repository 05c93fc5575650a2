import { useRef, useState } from 'preact/hooks'
import type { Language } from '../live/messages.ts'
import { t } from '../strings.ts'
import { LanguageIcon } from './language-icon.tsx'

/** How languages are written; a profile that is not here shows its own name. */
const shown: Record<string, string> = {
  python: 'Python', javascript: 'JavaScript', typescript: 'TypeScript', bash: 'Bash', c: 'C', cpp: 'C++',
  go: 'Go', rust: 'Rust', java: 'Java', ruby: 'Ruby', php: 'PHP', perl: 'Perl', lua: 'Lua', sql: 'SQL',
  r: 'R', csharp: 'C#', haskell: 'Haskell',
}

export const languageName = (name: string): string => shown[name] ?? name

/** The number in what a toolchain says of its version. */
const shortVersion = (version: string): string => /\d+(\.\d+)+/.exec(version)?.[0] ?? ''

export interface LanguagePickerProps {
  languages: readonly Language[]
  value: string
  onChange(name: string): void
}

/** The languages that a text may mean: by name, other names and extensions. Those that begin with it come first. */
export function findLanguages(languages: readonly Language[], text: string): readonly Language[] {
  const wanted = text.trim().toLowerCase()
  if (wanted === '') return languages
  const words = (l: Language): string[] => [languageName(l.name), l.name, ...l.aliases, ...l.extensions].map((w) => w.toLowerCase())
  const rank = (l: Language): number => Math.min(...words(l).map((w) => (w === wanted ? 0 : w.startsWith(wanted) ? 1 : w.includes(wanted) ? 2 : 3)))
  return languages.map((l) => ({ l, r: rank(l) })).filter(({ r }) => r < 3).sort((x, y) => x.r - y.r).map(({ l }) => l)
}

/** Radio buttons: one glance, one key; and a field for who would rather type. */
export function LanguagePicker({ languages, value, onChange }: LanguagePickerProps) {
  const [text, setText] = useState('')
  const row = useRef<HTMLDivElement>(null)
  const [height, setHeight] = useState(0)
  const problem = languages.find((l) => l.name === value)?.problem
  const found = findLanguages(languages, text)
  const search = (wanted: string): void => {
    if (text === '') setHeight(row.current?.offsetHeight ?? 0) // what is below stays where it is
    setText(wanted)
  }
  return (
    <fieldset class="languages">
      <legend>{t.language}</legend>
      <input
        type="text" class="language-search" aria-label={t.languages.find} placeholder={t.languages.find} value={text} spellcheck={false} autocomplete="off"
        data-testid="language-search" onInput={(e) => search(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key !== 'Enter') return
          e.preventDefault() // it chooses, and makes no room yet
          const [first] = found
          if (first === undefined) return
          onChange(first.name)
          setText('')
        }}
      />
      <div class="language-row" ref={row} style={text === '' ? {} : { minHeight: `${height}px` }}>
        {found.map(({ name, version, problem }) => (
          <label class="language" key={name} data-chosen={name === value} data-problem={problem !== undefined} title={problem ?? ''}>
            <input type="radio" name="language" value={name} checked={name === value} onChange={() => onChange(name)} />
            <LanguageIcon name={name} />
            <span><b>{languageName(name)}</b><small>{shortVersion(version)}</small></span>
          </label>
        ))}
        {text !== '' && found.length === 0 && <p class="soft language-none">{t.languages.none}</p>}
      </div>
      <p class="sr-only" role="status">{text === '' ? '' : t.languages.found(found.length)}</p>
      {problem && <p class="language-problem" data-testid="language-problem">{problem}</p>}
    </fieldset>
  )
}
