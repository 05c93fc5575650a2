import { fontSizes, keyMaps, settings, tabSizes, type EditorSettings, type KeyMap } from '../editor/settings.ts'
import { t } from '../strings.ts'
import { SlidersIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'

export function EditorSettingsButton() {
  const set = (change: Partial<EditorSettings>): void => { settings.value = { ...settings.value, ...change } }
  const now = settings.value
  const words = t.editor
  return (
    <Popover label={words.settings} class="quiet square" testid="editor-settings" face={<SlidersIcon />}>
      {() => (
        <div class="editor-settings">
          <label><span>{words.keyMap}</span>
            <select data-testid="key-map" value={now.keyMap} onChange={(e) => set({ keyMap: e.currentTarget.value as KeyMap })}>
              {keyMaps.map((name) => <option key={name} value={name}>{words.keyMaps[name]}</option>)}
            </select>
          </label>
          <label><span>{words.fontSize}</span>
            <select data-testid="font-size" value={now.fontSize} onChange={(e) => set({ fontSize: Number(e.currentTarget.value) })}>
              {fontSizes.map((n) => <option key={n} value={n}>{n === 0 ? words.usual : `${n} px`}</option>)}
            </select>
          </label>
          <label><span>{words.tabSize}</span>
            <select data-testid="tab-size" value={now.tabSize} onChange={(e) => set({ tabSize: Number(e.currentTarget.value) })}>
              {tabSizes.map((n) => <option key={n} value={n}>{n === 0 ? words.byLanguage : n}</option>)}
            </select>
          </label>
          <label class="check"><input type="checkbox" data-testid="wrap" checked={now.wrap} onChange={(e) => set({ wrap: e.currentTarget.checked })} />{words.wrap}</label>
        </div>
      )}
    </Popover>
  )
}
