// Light, dark, or as the system says. The colours themselves are in CSS
// (light-dark()); script needs to know only for the terminal.
import { computed, effect, signal } from '@preact/signals'
import { keep, load, local } from './identity.ts'

export type ThemeChoice = 'auto' | 'light' | 'dark'
const KEY = 'corun.theme'
const order: ThemeChoice[] = ['auto', 'light', 'dark']

const kept = load<ThemeChoice>(local, KEY)
export const themeChoice = signal<ThemeChoice>(kept !== null && order.includes(kept) ? kept : 'auto')

const systemDark = matchMedia('(prefers-color-scheme: dark)')
const system = signal(systemDark.matches)
systemDark.addEventListener('change', (e) => { system.value = e.matches })

export const dark = computed(() => (themeChoice.value === 'auto' ? system.value : themeChoice.value === 'dark'))

effect(() => { document.documentElement.dataset.theme = themeChoice.value })

export function nextTheme(): void {
  themeChoice.value = order[(order.indexOf(themeChoice.value) + 1) % order.length] ?? 'auto'
  keep(local, KEY, themeChoice.value)
}
