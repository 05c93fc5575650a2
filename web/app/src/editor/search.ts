// Find and replace, and marks on what else reads as what is selected: loaded ahead of
// its use, or with the first of its keys.
import { Compartment, type Extension } from '@codemirror/state'
import { keymap, ViewPlugin, type EditorView, type KeyBinding } from '@codemirror/view'
import { whenTouched } from '../ui/touched.ts'

type Search = typeof import('@codemirror/search')
const load = (): Promise<Search> => import('@codemirror/search')

/** The keys that begin to look for something; the rest are the panel's. */
const keys = ['Mod-f', 'F3', 'Shift-F3', 'Mod-g', 'Shift-Mod-g', 'Mod-Shift-l', 'Mod-Alt-g', 'Mod-d']

export function searchLater(): Extension {
  const place = new Compartment()
  const arrive = (view: EditorView, { highlightSelectionMatches, searchKeymap, search }: Search): void => {
    if (place.get(view.state) === none) view.dispatch({ effects: place.reconfigure([search(), highlightSelectionMatches(), keymap.of(searchKeymap)]) })
  }
  const first = keys.map((key): KeyBinding => ({
    key,
    run: (view) => {
      if (place.get(view.state) !== none) return false
      void load().then((module) => {
        arrive(view, module)
        const binding = module.searchKeymap.find((b) => b.key === key.replace('Shift-Mod-g', 'Mod-g').replace('Shift-F3', 'F3'))
        const run = key.startsWith('Shift-') ? binding?.shift : binding?.run
        run?.(view)
      }, () => undefined) // the next press asks again
      return true
    },
  }))
  const ahead = ViewPlugin.define((view) => {
    let gone = false
    whenTouched(() => void load().then((module) => { if (!gone) arrive(view, module) }, () => undefined))
    return { destroy: () => { gone = true } }
  })
  return [place.of(none), keymap.of(first), ahead]
}

const none: Extension = []
