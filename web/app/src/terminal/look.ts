import type { ISearchDecorationOptions } from '@xterm/addon-search'
import type { ITheme } from '@xterm/xterm'
import type { Theme } from '../theme.ts'

// Sixteen colours of equal weight; each has at least 4.5:1 on its background.
const light: ITheme = {
  background: '#fbfbfa', foreground: '#1f2328', cursor: '#0f766e', cursorAccent: '#fbfbfa',
  selectionBackground: '#b9ddd9', selectionForeground: '#1f2328',
  black: '#1f2328', red: '#b42318', green: '#14723c', yellow: '#8a5a00',
  blue: '#1d57b8', magenta: '#8b3fa8', cyan: '#0e6f7c', white: '#57606a',
  brightBlack: '#656d76', brightRed: '#a40e26', brightGreen: '#0f6434', brightYellow: '#7a4e00',
  brightBlue: '#0c4aa6', brightMagenta: '#7a2e98', brightCyan: '#0b5f6a', brightWhite: '#3d444d',
}

const dark: ITheme = {
  background: '#14171b', foreground: '#dfe3e8', cursor: '#4fd1c5', cursorAccent: '#14171b',
  selectionBackground: '#27504f', selectionForeground: '#ffffff',
  black: '#8b949e', red: '#ff8a80', green: '#7bd88f', yellow: '#e5c07b',
  blue: '#82b1ff', magenta: '#d8a3f0', cyan: '#6fd3df', white: '#dfe3e8',
  brightBlack: '#9aa4af', brightRed: '#ffa8a0', brightGreen: '#9be8ab', brightYellow: '#f0d49b',
  brightBlue: '#a8c8ff', brightMagenta: '#e5c1f6', brightCyan: '#9ae3ec', brightWhite: '#ffffff',
}

// In high contrast each has at least 7:1 on its background.
const lightContrast: ITheme = {
  background: '#ffffff', foreground: '#000000', cursor: '#004f47', cursorAccent: '#ffffff',
  selectionBackground: '#003c80', selectionForeground: '#ffffff',
  black: '#000000', red: '#8a0f08', green: '#004d22', yellow: '#5c3a00',
  blue: '#003c80', magenta: '#632080', cyan: '#00494f', white: '#404040',
  brightBlack: '#404040', brightRed: '#8a0f08', brightGreen: '#004d22', brightYellow: '#5c3a00',
  brightBlue: '#003c80', brightMagenta: '#632080', brightCyan: '#00494f', brightWhite: '#000000',
}

const darkContrast: ITheme = {
  background: '#000000', foreground: '#ffffff', cursor: '#5ff0de', cursorAccent: '#000000',
  selectionBackground: '#ffe45c', selectionForeground: '#000000',
  black: '#c4c4c4', red: '#ffa8a0', green: '#8df0a6', yellow: '#ffe08a',
  blue: '#a9cbff', magenta: '#ecc4ff', cyan: '#8af0f8', white: '#ffffff',
  brightBlack: '#d4d4d4', brightRed: '#ffbdb6', brightGreen: '#aef7c0', brightYellow: '#ffeab0',
  brightBlue: '#c5dcff', brightMagenta: '#f4dbff', brightCyan: '#b5f7fc', brightWhite: '#ffffff',
}

export const terminalTheme = (theme: Theme): ITheme =>
  (theme.contrast ? (theme.dark ? darkContrast : lightContrast) : theme.dark ? dark : light)

/** What a program's own colours are brought to. */
export const minimumContrast = ({ contrast }: Theme): number => (contrast ? 7 : 1)

/** What was found, and of that what is shown now. Colours of a terminal's marks have no other form. */
export const matchColours = ({ dark: isDark, contrast }: Theme): ISearchDecorationOptions => (contrast ? contrastMatches(isDark) : isDark
  ? { matchBackground: '#4a4420', activeMatchBackground: '#27504f', activeMatchBorder: '#4fd1c5', matchOverviewRuler: '#8a7b2e', activeMatchColorOverviewRuler: '#4fd1c5' }
  : { matchBackground: '#fbe9a7', activeMatchBackground: '#b9ddd9', activeMatchBorder: '#0f766e', matchOverviewRuler: '#c9a400', activeMatchColorOverviewRuler: '#0f766e' })

const contrastMatches = (isDark: boolean): ISearchDecorationOptions => (isDark
  ? { matchBackground: '#4a3d00', activeMatchBackground: '#00574d', activeMatchBorder: '#ffffff', matchOverviewRuler: '#ffe45c', activeMatchColorOverviewRuler: '#5ff0de' }
  : { matchBackground: '#fff0a0', activeMatchBackground: '#b5efe8', activeMatchBorder: '#000000', matchOverviewRuler: '#5c3a00', activeMatchColorOverviewRuler: '#004f47' })
