// How the page looks and in which language it speaks, for this browser alone.
import { chooseLanguage, languageChoice, languages, type LanguageChoice } from '../language.ts'
import { languageNames, t } from '../strings.ts'
import { chooseTheme, theme, themeChoice, themes, type ThemeChoice } from '../theme.ts'
import { AutoIcon, MoonIcon, SunIcon } from './icons.tsx'
import { Popover } from './popover.tsx'

export function LookButton() {
  const Icon = theme.value.contrast ? AutoIcon : theme.value.dark ? MoonIcon : SunIcon
  return (
    <Popover label={t.look.settings} class="quiet square" testid="look" face={<Icon />}>
      {() => (
        <div class="editor-settings">
          <label><span>{t.look.theme}</span>
            <select data-testid="theme" value={themeChoice.value} onChange={(e) => chooseTheme(e.currentTarget.value as ThemeChoice)}>
              {themes.map((one) => <option key={one} value={one}>{t.look.themes[one]}</option>)}
            </select>
          </label>
          <label><span>{t.look.language}</span>
            <select data-testid="page-language" value={languageChoice.value} onChange={(e) => chooseLanguage(e.currentTarget.value as LanguageChoice)}>
              <option value="auto">{t.look.asBrowser}</option>
              {languages.map((one) => <option key={one} value={one} lang={one}>{languageNames[one]}</option>)}
            </select>
          </label>
        </div>
      )}
    </Popover>
  )
}
