import type { Language } from '../live/messages.ts'
import { languageName } from '../start/language-picker.tsx'
import { t } from '../strings.ts'

/** Why a file cannot be formatted, in words, or ''. */
export function unformattable(path: string, languages: readonly Language[]): string {
  const extension = /\.[^./]+$/.exec(path)?.[0].toLowerCase()
  const language = languages.find((l) => extension !== undefined && l.extensions.includes(extension))
  if (language === undefined) return t.format.noFile
  return language.format === true ? '' : t.format.none(languageName(language.name))
}
