import { t } from '../strings.ts'
import { nextTheme, themeChoice } from '../theme.ts'
import { AutoIcon, MoonIcon, SunIcon } from './icons.tsx'

const faces = {
  auto: { label: t.themeAuto, Icon: AutoIcon },
  light: { label: t.themeLight, Icon: SunIcon },
  dark: { label: t.themeDark, Icon: MoonIcon },
}

export function ThemeButton() {
  const { label, Icon } = faces[themeChoice.value]
  return (
    <button type="button" class="quiet square" onClick={nextTheme} aria-label={label} title={label}>
      <Icon />
    </button>
  )
}
