// In which language the page speaks: the one chosen here, or the first of the
// browser's that there is. English is always there; another is loaded when it is
// wanted, and the page waits for it before it shows anything.
import { effect, signal } from '@preact/signals'
import { keep, load, local } from './identity.ts'
import { english, words, type Words } from './strings.ts'

export type Language = 'en' | 'de'
export type LanguageChoice = 'auto' | Language

const KEY = 'corun.language'
const sources: Record<Language, () => Promise<Words>> = {
  en: () => Promise.resolve(english),
  de: async () => (await import('./strings-de.ts')).german,
}
export const languages = Object.keys(sources) as Language[]

const kept = load<string>(local, KEY)
export const languageChoice = signal<LanguageChoice>(languages.find((l) => l === kept) ?? 'auto')

/** The first of what a person reads that the page speaks. */
export function preferred(read: readonly string[]): Language {
  for (const tag of read) {
    const found = languages.find((l) => l === primary(tag))
    if (found !== undefined) return found
  }
  return 'en'
}

/** The language with the person's own region, where the browser knows that: it decides how times are written. */
export function localeOf(language: Language, read: readonly string[]): string {
  return read.find((tag) => primary(tag) === language) ?? language
}

/** Speaks the chosen language from when it is there; what comes to nothing leaves things as they are. */
export async function speak(): Promise<void> {
  const choice = languageChoice.value
  const language = choice === 'auto' ? preferred(navigator.languages) : choice
  try {
    const found = await sources[language]()
    if (choice === languageChoice.value) words.value = { ...found, locale: localeOf(language, navigator.languages) }
  } catch {
    // The server is away and this browser has kept no such words.
  }
}

export function chooseLanguage(choice: LanguageChoice): void {
  languageChoice.value = choice
  keep(local, KEY, choice === 'auto' ? null : choice)
  void speak()
}

const primary = (tag: string): string => tag.toLowerCase().split('-')[0] ?? ''

/** Says on the page itself which language it is in, for screen readers and hyphenation. */
export function markLanguage(): void {
  effect(() => { document.documentElement.lang = primary(words.value.locale) })
}
