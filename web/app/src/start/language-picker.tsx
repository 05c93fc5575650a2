import type { Language } from '../live/messages.ts'
import { t } from '../strings.ts'

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

/** A row of radio buttons: one glance, one key. */
export function LanguagePicker({ languages, value, onChange }: LanguagePickerProps) {
  const problem = languages.find((l) => l.name === value)?.problem
  return (
    <fieldset class="languages">
      <legend>{t.language}</legend>
      <div class="language-row">
        {languages.map(({ name, version, problem }) => (
          <label class="language" key={name} data-chosen={name === value} data-problem={problem !== undefined} title={problem ?? ''}>
            <input type="radio" name="language" value={name} checked={name === value} onChange={() => onChange(name)} />
            <b>{languageName(name)}</b>
            <small>{shortVersion(version)}</small>
          </label>
        ))}
      </div>
      {problem && <p class="language-problem" data-testid="language-problem">{problem}</p>}
    </fieldset>
  )
}
