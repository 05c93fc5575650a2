import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signal } from '@preact/signals'
import * as Y from 'yjs'
import { textOf } from '../src/doc/files.ts'
import type { Run } from '../src/live/messages.ts'
import { Announcer } from '../src/runs/announcer.ts'
import { RunCode } from '../src/runs/code.ts'
import { changedLines, diffLines, lineNow } from '../src/runs/lines.ts'
import { defaultOptions, splitArgs, startFields } from '../src/runs/options.ts'
import { findPlaces, findProblems } from '../src/runs/places.ts'
import { plainText } from '../src/terminal/text.ts'

test('arguments are split as a shell does', () => {
  const cases: [string, string[]][] = [
    ['', []], ['  ', []], ['a  b\tc', ['a', 'b', 'c']],
    [`--name "two words" 'it''s'`, ['--name', 'two words', 'its']],
    [String.raw`a\ b "q\"q" "\n" '\n'`, ['a b', 'q"q', '\\n', '\\n']],
    [`"" ''`, ['', '']], ['x"y"z', ['xyz']], ['$HOME *', ['$HOME', '*']],
  ]
  for (const [text, args] of cases) assert.deepEqual(splitArgs(text), { args }, text)
  assert.deepEqual(splitArgs('a "b'), { unclosed: '"' })
  assert.deepEqual(splitArgs("a 'b"), { unclosed: "'" })
  assert.deepEqual(splitArgs('a\\'), { unclosed: '\\' })
})

test('a run is told of the options what is other than usual', () => {
  assert.deepEqual(startFields(defaultOptions, ['main.py']), {})
  const options = { entry: 'other.py', args: 'a "b c"', mode: 'pipes', stdin: 'in\n' } as const
  assert.deepEqual(startFields(options, ['main.py', 'other.py']), { entry: 'other.py', args: ['a', 'b c'], mode: 'pipes', stdin: 'in\n' })
  assert.equal(startFields(options, ['main.py']).entry, undefined, 'a file that is gone starts nothing')
  assert.deepEqual(startFields({ ...options, mode: 'terminal' }, []), { args: ['a', 'b c'] })
})

/** What a list of hunks makes of the old lines. */
function patched(old: string[], now: string[]): string[] {
  const out: string[] = []
  let at = 0
  for (const h of diffLines(old, now)) {
    out.push(...old.slice(at, h.from), ...now.slice(h.nowFrom, h.nowTo))
    at = h.to
  }
  return [...out, ...old.slice(at)]
}

test('a diff of lines makes the one text of the other, and leaves what is the same', () => {
  let seed = 7
  const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n
  for (let round = 0; round < 300; round++) {
    const lines = (): string[] => Array.from({ length: random(12) }, () => 'abcd'.charAt(random(4)))
    const [old, now] = [lines(), lines()]
    assert.deepEqual(patched(old, now), now, `${old.join('')} → ${now.join('')}`)
  }
  assert.deepEqual(diffLines(['a', 'b', 'c', 'd'], ['a', 'x', 'b', 'd', 'e']), [
    { from: 1, to: 1, nowFrom: 1, nowTo: 2 }, { from: 2, to: 3, nowFrom: 3, nowTo: 3 }, { from: 4, to: 4, nowFrom: 4, nowTo: 5 },
  ])
  // Too many differences are one, and not a long wait.
  const many = Array.from({ length: 5_000 }, (_, i) => `old ${i}`)
  assert.deepEqual(patched(many, many.map((l) => l.replace('old', 'new'))).length, 5_000)
})

test('a line is found again: moved, changed, and gone', () => {
  const old = ['import sys', '', 'def f(x):', '    return 1 / x', '', 'f(0)']
  assert.equal(lineNow(old, ['# new', '# new too', ...old], 3), 5)
  assert.equal(lineNow(old, old.slice(2), 3), 1)
  // Changed, with others beside it that are new as well.
  assert.equal(lineNow(old, ['import sys', '', 'def f(x):', '    # why', '    y = x', '    return 1 / y', '', 'f(0)'], 3), 5)
  assert.equal(lineNow(old, ['import sys', '', 'def f(x):', '', 'f(0)'], 3), 3)
  assert.equal(lineNow(old, [''], 5), 0)
})

test('changed and removed lines are marked', () => {
  const old = ['a', 'b', 'c', 'd']
  assert.deepEqual([...changedLines(old, ['a', 'B', 'c', 'd', 'e'])], [[1, 'changed'], [4, 'changed']])
  assert.deepEqual([...changedLines(old, ['a', 'd'])], [[1, 'removed']])
  assert.deepEqual([...changedLines(old, old)], [])
  assert.deepEqual([...changedLines(old, ['a'])], [[0, 'removed']])
})

/** Programs run in a folder of the box: BOX stands for it. */
const inBox = (text: string): string => text.replace('BOX', '/work')

test('places are found in what languages print, and only of files that are there', () => {
  const paths = ['main.py', 'lib/util.py', 'main.js', 'main.c', 'Main.java', 'main.go', 'main.rb', 'main.php', 'main.pl', 'main.ts', 'Program.cs', 'main.rs', 'main.sh', 'main.lua', 'src/App.java', 'main.R', 'main.sql']
  const cases: [string, string, number, number][] = [
    ['  File "BOX/main.py", line 3, in <module>', 'main.py', 3, 0],
    ['  File "/work/lib/util.py", line 12', 'lib/util.py', 12, 0],
    ['    at Object.<anonymous> (BOX/main.js:3:5)', 'main.js', 3, 5],
    ['    at file://BOX/main.js:7:9', 'main.js', 7, 9],
    ['main.c:3:5: error: expected ‘;’', 'main.c', 3, 5],
    ['\tat Main.main(Main.java:5)', 'Main.java', 5, 0],
    ['\tat app.App.run(App.java:8)', 'src/App.java', 8, 0],
    ['\tBOX/main.go:7 +0x1d', 'main.go', 7, 0],
    ['./main.go:4:2: undefined: x', 'main.go', 4, 2],
    ["main.rb:3:in `/': divided by 0 (ZeroDivisionError)", 'main.rb', 3, 0],
    ['PHP Fatal error: Uncaught Error in BOX/main.php on line 3', 'main.php', 3, 0],
    ['#0 BOX/main.php(6): f()', 'main.php', 6, 0],
    ['Illegal division by zero at main.pl line 3.', 'main.pl', 3, 0],
    ["main.ts(3,5): error TS2322: Type 'string'", 'main.ts', 3, 5],
    ['   at Program.Main() in /work/Program.cs:line 9', 'Program.cs', 9, 0],
    [' --> main.rs:3:5', 'main.rs', 3, 5],
    ["thread 'main' panicked at main.rs:4:10:", 'main.rs', 4, 10],
    ['main.sh: line 3: nothere: command not found', 'main.sh', 3, 0],
    ['lua: main.lua:3: attempt to call a nil value', 'main.lua', 3, 0],
    ['Parse error near line 3: no such table: nothere', 'main.sql', 3, 0],
  ]
  for (const [text, path, line, column] of cases) {
    const found = findPlaces(inBox(text), paths).map((p) => [p.path, p.line, p.column])
    assert.deepEqual(found, [[path, line, column]], text)
  }
  for (const text of ['at 12:30:05', 'http://127.0.0.1:8080', 'File "/usr/lib/python3/json.py", line 3', 'other.py:3', 'node:internal/main.js:0', 'main.py:0']) {
    assert.deepEqual(findPlaces(text, paths), [], text)
  }
  const [first, second] = findPlaces('main.c:1:2 and main.c:30', paths)
  assert.deepEqual([first?.from, first?.to, second?.line], [0, 10, 30])
})

test('compilers are understood', () => {
  const paths = ['main.c', 'main.rs', 'main.ts', 'Program.cs', 'Main.java', 'main.go', 'main.py', 'main.js', 'main.rb', 'main.php', 'main.pl', 'main.lua', 'main.sh', 'main.sql']
  const said = findProblems([
    'In file included from main.c:1:', "main.c:3:12: error: expected ';' before '}' token", 'main.c:4: warning: unused',
    'error[E0308]: mismatched types', ' --> main.rs:2:18', '  |', ' --> main.rs:9:9',
    "main.ts(3,5): error TS2322: Type 'string' is not assignable.", 'Program.cs(5,9): error CS0103: The name [x] [/work/a.csproj]',
    "Main.java:4: error: ';' expected", '    int x = 1', '             ^', './main.go:5:2: undefined: x', '/usr/include/stdio.h:3:1: note: there',
    'BOX/main.js:2', 'let x = ;', '        ^', "SyntaxError: Unexpected token ';'", '    at internalCompileFunction (node:internal/vm:76:18)',
    "main.rb:4: syntax error, unexpected `end'", 'Parse error: syntax error, unexpected token ";" in BOX/main.php on line 2',
    'syntax error at main.pl line 2, near "= ;"', "/usr/bin/lua5.4: main.lua:2: unexpected symbol near '='",
    "main.sh: line 2: syntax error near unexpected token `then'", 'Parse error near line 2: near "from": syntax error',
    'Traceback:', '  File "BOX/main.py", line 2', '    print(', "SyntaxError: '(' was never closed",
  ].map(inBox), paths)
  assert.deepEqual(said.map((p) => [p.path, p.line, p.column, p.severity, p.message]), [
    ['main.c', 3, 12, 'error', "expected ';' before '}' token"],
    ['main.c', 4, 0, 'warning', 'unused'],
    ['main.rs', 2, 18, 'error', 'mismatched types'],
    ['main.ts', 3, 5, 'error', "Type 'string' is not assignable."],
    ['Program.cs', 5, 9, 'error', 'The name [x]'],
    ['Main.java', 4, 14, 'error', "';' expected"],
    ['main.go', 5, 2, 'error', 'undefined: x'],
    ['main.js', 2, 0, 'error', "SyntaxError: Unexpected token ';'"],
    ['main.rb', 4, 0, 'error', "syntax error, unexpected `end'"],
    ['main.php', 2, 0, 'error', 'syntax error, unexpected token ";"'],
    ['main.pl', 2, 0, 'error', 'syntax error'],
    ['main.lua', 2, 0, 'error', "unexpected symbol near '='"],
    ['main.sh', 2, 0, 'error', "syntax error near unexpected token `then'"],
    ['main.sql', 2, 0, 'error', 'near "from": syntax error'],
    ['main.py', 2, 0, 'error', "SyntaxError: '(' was never closed"],
  ])
  assert.equal(plainText(new TextEncoder().encode('\x1b[01m\x1b[Kmain.c:1\x1b[0m\r\nx\x1b]0;title\x07y')), 'main.c:1\nxy')
})

test('output is as many edits old as there were since the run’s code, and none when the code is that again', async () => {
  const server = new Y.Doc()
  const doc = new Y.Doc()
  doc.getMap('files').set('main', { path: 'main.py' })
  textOf(doc, 'main').insert(0, 'a\nb\n')
  Y.applyUpdate(server, Y.encodeStateAsUpdate(doc))
  const loaded = signal(true)
  const code = new RunCode({
    doc, loaded,
    filesOf: () => Promise.resolve([{ id: 'main', path: 'main.py', content: textOf(server, 'main').toString() }]),
    editsSince: () => Promise.resolve(5),
  })
  const settled = (): Promise<void> => new Promise((done) => setTimeout(done, 250))
  const run = (number: number): Run => ({
    number, language: 'python', entry: 'main.py', mode: 'terminal', state: 'queued', started_by: 'a', started_by_name: 'A',
    state_vector: Buffer.from(Y.encodeStateVector(server)).toString('base64'),
  })
  try {
    // One edit of ours crossed the run on its way; the next comes after it.
    textOf(doc, 'main').insert(0, '# 1\n')
    code.follow(run(1))
    textOf(doc, 'main').insert(0, '# 2\n')
    doc.getMap('room').set('title', 'no code')
    doc.getText('notes').insert(0, 'neither')
    await settled()
    assert.equal(code.edits.value, 2)
    assert.deepEqual([...code.marks('main')], [[0, 'changed'], [1, 'changed']])
    assert.deepEqual(await code.placeNow('main.py', 2), { file: 'main', line: 4 })
    assert.equal(await code.placeNow('other.py', 1), null)
    textOf(doc, 'main').delete(0, 8)
    await settled()
    assert.equal(code.edits.value, 0, 'it is again what ran')
    textOf(doc, 'main').delete(0, 2)
    await settled()
    assert.equal(code.edits.value, 4, 'a deletion is an edit, too')
    // The next run got what is there now.
    Y.applyUpdate(server, Y.encodeStateAsUpdate(doc))
    code.follow(run(2))
    await settled()
    assert.equal(code.edits.value, 0)
    // Who comes later goes by the server's count.
    await code.recount({ ...run(3), number: 3 })
    await settled()
    assert.equal(code.edits.value, 0, 'the code is the same')
  } finally { code.close() }
})

test('a line is found by the document where several read the same, and by comparison where it was typed anew', async () => {
  const doc = new Y.Doc()
  doc.getMap('files').set('main', { path: 'main.py' })
  const text = textOf(doc, 'main')
  text.insert(0, 'go()\ngo()\n\ngo()\n')
  const content = text.toString()
  const files = [{ id: 'main', path: 'main.py', content }]
  const code = new RunCode({ doc, loaded: signal(true), filesOf: () => Promise.resolve(files), editsSince: () => Promise.resolve(0) })
  const now = async (line: number): Promise<number | undefined> => (await code.placeNow('main.py', line))?.line
  try {
    code.follow({
      number: 1, language: 'python', entry: 'main.py', mode: 'terminal', state: 'queued', started_by: 'a', started_by_name: 'A',
      state_vector: Buffer.from(Y.encodeStateVector(doc)).toString('base64'),
    })
    assert.equal(await now(2), 2)
    text.insert(0, 'go()\n')
    assert.deepEqual([await now(1), await now(2), await now(4)], [2, 3, 5])
    text.insert(5, '\t')
    text.insert(text.toString().lastIndexOf('go()'), '# ')
    assert.deepEqual([await now(1), await now(2), await now(4)], [2, 3, 5])
    text.delete(0, text.length)
    text.insert(0, '# all\n# new\ngo()\ngo()\n\ngo()\n')
    assert.deepEqual([await now(1), await now(2), await now(4)], [3, 4, 6])
  } finally { code.close() }
})

test('announcements do not come faster than they can be heard, and the newest counts', () => {
  let now = 0
  let due: { at: number; fn: () => void } | null = null
  const heard: string[] = []
  const announcer = new Announcer((words) => heard.push(words), {
    now: () => now,
    after: (ms, fn) => {
      due = { at: now + ms, fn }
      return () => { due = null }
    },
  })
  const pass = (ms: number): void => {
    now += ms
    const ready = due
    if (ready === null || ready.at > now) return
    due = null
    ready.fn()
  }
  announcer.say('a')
  for (const words of ['b', 'c', 'd']) announcer.say(words)
  assert.deepEqual(heard, ['a'])
  pass(1_999)
  assert.deepEqual(heard, ['a'])
  pass(1)
  assert.deepEqual(heard, ['a', 'd'])
  announcer.say('e')
  announcer.close()
  pass(5_000)
  assert.deepEqual(heard, ['a', 'd'])
})
