// How this person likes the editor; kept in this browser.
import { effect, signal } from '@preact/signals'
import { keep, load, local } from '../identity.ts'

export type KeyMap = 'default' | 'vim' | 'emacs'

export interface EditorSettings {
  keyMap: KeyMap
  /** In pixels; 0 is the page's own, which is smaller on a phone. */
  fontSize: number
  /** Columns of an indentation; 0 is by the habits of the language. */
  tabSize: number
  wrap: boolean
}

const KEY = 'corun.editor'
export const keyMaps: readonly KeyMap[] = ['default', 'vim', 'emacs']
export const fontSizes: readonly number[] = [0, 12, 13, 14, 15, 16, 18, 20, 24]
export const tabSizes: readonly number[] = [0, 2, 4, 8]

function loadSettings(): EditorSettings {
  const kept = load<Partial<EditorSettings>>(local, KEY)
  const known = <T>(all: readonly T[], value: T | undefined): T => all.find((one) => one === value) ?? (all[0] as T)
  return {
    keyMap: known(keyMaps, kept?.keyMap), fontSize: known(fontSizes, kept?.fontSize),
    tabSize: known(tabSizes, kept?.tabSize), wrap: kept?.wrap === true,
  }
}

export const settings = signal<EditorSettings>(loadSettings())

effect(() => keep(local, KEY, settings.value))
