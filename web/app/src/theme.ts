// Light, dark, or as the system says, and in high contrast where that is wanted
// here or in the system. The colours themselves are in CSS (light-dark()); script
// needs to know only for the terminal.
import { computed, effect, signal, type ReadonlySignal } from '@preact/signals'
import { keep, load, local } from './identity.ts'

export type ThemeChoice = 'auto' | 'light' | 'dark' | 'contrast'
const KEY = 'corun.theme'
export const themes: readonly ThemeChoice[] = ['auto', 'light', 'dark', 'contrast']

const kept = load<string>(local, KEY)
export const themeChoice = signal<ThemeChoice>(themes.find((theme) => theme === kept) ?? 'auto')

function media(query: string): ReadonlySignal<boolean> {
  const list = matchMedia(query)
  const matches = signal(list.matches)
  list.addEventListener('change', (e) => { matches.value = e.matches })
  return matches
}

const systemDark = media('(prefers-color-scheme: dark)')
// Who has the system force its colours sees few of ours, but for the terminal's.
const systemContrast = media('(prefers-contrast: more), (forced-colors: active)')

export interface Theme {
  dark: boolean
  contrast: boolean
}

/** High contrast is light or dark as the system is. */
export const theme: ReadonlySignal<Theme> = computed(() => ({
  dark: themeChoice.value === 'light' ? false : themeChoice.value === 'dark' || systemDark.value,
  contrast: themeChoice.value === 'contrast' || systemContrast.value,
}))

effect(() => {
  const { dataset } = document.documentElement
  dataset.theme = themeChoice.value
  dataset.contrast = theme.value.contrast ? 'more' : 'usual'
})

export function chooseTheme(choice: ThemeChoice): void {
  themeChoice.value = choice
  keep(local, KEY, choice)
}
