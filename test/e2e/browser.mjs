// What editors take of a browser, from jsdom, for those that need no layout: import it
// before them. And Monaco, which takes a bundler even so.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { JSDOM } from 'jsdom'

export const { window } = new JSDOM('<!doctype html><body></body>', { pretendToBeVisual: true })
window.matchMedia = () => ({ matches: false, addEventListener() {}, removeEventListener() {}, addListener() {}, removeListener() {} })
window.document.queryCommandSupported = () => false
const nowhere = { left: 0, right: 0, top: 0, bottom: 0, width: 0, height: 0 }
window.Range.prototype.getClientRects = () => []
window.Range.prototype.getBoundingClientRect = () => nowhere
for (const name of ['window', 'document', 'navigator', 'self', 'Window', 'Document', 'Node', 'Text', 'Element', 'HTMLElement', 'Range', 'Selection', 'MutationObserver', 'DOMParser', 'UIEvent', 'KeyboardEvent', 'MouseEvent', 'getComputedStyle', 'getSelection', 'requestAnimationFrame', 'cancelAnimationFrame']) {
  const value = name === 'self' ? globalThis : window[name]
  Object.defineProperty(globalThis, name, { value: typeof value === 'function' && /^[a-z]/.test(name) ? value.bind(window) : value, configurable: true, writable: true })
}

/** Monaco and its binding to Yjs, as a page would bundle them, without style and fonts. */
export async function loadMonaco() {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const { build } = createRequire(new URL('../../web/app/package.json', import.meta.url))('esbuild')
  const outfile = fileURLToPath(new URL('../node_modules/.cache/monaco.mjs', import.meta.url))
  await build({
    stdin: {
      contents: `export * as monaco from 'monaco-editor/esm/vs/editor/editor.api.js'; export { MonacoBinding } from 'y-monaco'`,
      resolveDir: here,
    },
    bundle: true, format: 'esm', mainFields: ['module', 'main'], outfile, logLevel: 'warning',
    loader: { '.css': 'empty', '.ttf': 'empty' },
    external: ['yjs', 'lib0/*', 'y-protocols/*'], // the same that the others use
  })
  return import(outfile)
}
