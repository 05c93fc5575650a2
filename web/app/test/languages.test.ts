// What the page knows of languages, against the profiles that the server has.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ensureSyntaxTree, language } from '@codemirror/language'
import { EditorState } from '@codemirror/state'
import { grammarFor } from '../src/editor/languages.ts'
import { languageName } from '../src/start/language-picker.tsx'

const folder = '../../sandbox-profiles/languages'
const profiles = readdirSync(folder).filter((f) => f.endsWith('.toml')).map((f) => {
  const text = readFileSync(`${folder}/${f}`, 'utf8')
  const list = /^extensions\s*=\s*\[(.*)\]/m.exec(text)?.[1] ?? ''
  return { name: /^name\s*=\s*"(.*)"/m.exec(text)?.[1] ?? f, extensions: [...list.matchAll(/"(.+?)"/g)].map((m) => m[1] ?? '') }
})

test('every language has a name as it is written, and highlighting for each of its extensions', async () => {
  assert.ok(profiles.length >= 15)
  for (const { name, extensions } of profiles) {
    assert.match(languageName(name), /^[A-Z]/, name)
    assert.ok(extensions.length > 0, name)
    for (const ext of extensions) {
      const state = EditorState.create({ doc: 'x = 1\n', extensions: await grammarFor(`lib/Main${ext}`) })
      assert.ok(state.facet(language), `${name}: nothing for ${ext}`)
    }
  }
  assert.deepEqual(await grammarFor('notes.txt'), [])
  assert.equal(languageName('of-the-operator'), 'of-the-operator')
})

test('a cast in .ts is no element, an element in .tsx is no cast', async () => {
  const names = async (path: string, doc: string): Promise<string> => {
    const state = EditorState.create({ doc, extensions: await grammarFor(path) })
    return String(ensureSyntaxTree(state, doc.length, 5_000))
  }
  const cast = await names('main.ts', 'let n = <number>value\n')
  assert.ok(!cast.includes('JSX') && !cast.includes('\u26a0'), cast)
  const element = await names('main.tsx', 'let n = <b>value</b>\n')
  assert.ok(element.includes('JSXElement') && !element.includes('\u26a0'), element)
})
