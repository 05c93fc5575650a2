import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Language } from '../src/live/messages.ts'
import { findLanguages } from '../src/start/language-picker.tsx'

const language = (name: string, aliases: string[], extensions: string[]): Language => ({ name, version: '1.0', aliases, extensions, entry: 'main' })
const all = [
  language('c', ['gcc'], ['.c', '.h']), language('cpp', ['c++', 'g++'], ['.cpp']), language('csharp', ['c#'], ['.cs']),
  language('java', ['openjdk'], ['.java']), language('javascript', ['js', 'node'], ['.js']), language('rust', ['rs'], ['.rs']),
]

test('a language is found by its names and extensions, the likeliest first', () => {
  for (const [text, ...want] of [
    ['', 'c', 'cpp', 'csharp', 'java', 'javascript', 'rust'],
    [' Java ', 'java', 'javascript'],
    ['js', 'javascript'],
    ['.rs', 'rust'],
    ['c', 'c', 'cpp', 'csharp', 'javascript'],
    ['C++', 'cpp'],
    ['script', 'javascript'],
    ['cobol'],
  ] as [string, ...string[]][]) {
    assert.deepEqual(findLanguages(all, text).map((l) => l.name), want, `for ${JSON.stringify(text)}`)
  }
})
