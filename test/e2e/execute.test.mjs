// Programs without a room, over POST /execute, with npm's piston-client and without.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import piston from 'piston-client'
import { startServer } from './server.mjs'

let server
let client
before(async () => {
  server = await startServer({ args: ['--runs-per-minute-address', '100000'] })
  client = piston({ server: server.url })
})
after(async () => { await server?.stop() })

/** Runs a program and gives the response with its JSON. */
async function execute(body, { url = server.url, path = '/api/v1/execute' } = {}) {
  const res = await fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: res.status, headers: res.headers, body: await res.json() }
}

async function metrics({ adminUrl }) {
  const res = await fetch(`${adminUrl}/metrics`)
  assert.equal(res.status, 200)
  return res.text()
}

/** Waits until so many programs run. */
async function running(server, n) {
  const deadline = Date.now() + 20_000
  while (!new RegExp(`^corun_runs_active ${n}$`, 'm').test(await metrics(server))) assert.ok(Date.now() < deadline, `${n} programs do not run`)
}

const python = (code, more) => ({ language: 'python', version: '*', files: [{ content: code }], ...more })

test('piston-client works with its server changed and nothing else', async () => {
  const runtimes = await client.runtimes()
  const py = runtimes.find((r) => r.language === 'python')
  assert.match(py.version, /^3\.\d+\.\d+$/)
  assert.ok(py.aliases.includes('py'))

  const hello = await client.execute('python', 'import sys\nprint("Hello", sys.argv[1:])')
  assert.deepEqual([hello.language, hello.version], ['python', py.version])
  assert.deepEqual([hello.run.stdout, hello.run.stderr, hello.run.output], ["Hello ['1', '2', '3']\n", '', "Hello ['1', '2', '3']\n"])
  assert.deepEqual([hello.run.code, hello.run.signal, hello.run.status], [0, null, 'exited'])

  const more = await client.execute({
    language: 'js',
    version: '>=18',
    files: [{ name: 'first.js', content: 'process.stdin.on("data", (d) => console.log(require("./second")(String(d))))' }, { name: 'second.js', content: 'module.exports = (s) => s.toUpperCase()' }],
    stdin: 'word',
    args: [],
    runTimeout: 5000,
  })
  assert.deepEqual([more.language, more.run.stdout, more.run.code], ['javascript', 'WORD\n', 0])

  const failed = await client.execute('python', 'import sys\nprint("out")\nsys.exit("no")')
  assert.deepEqual([failed.run.stdout, failed.run.stderr, failed.run.code, failed.run.signal], ['out\n', 'no\n', 1, null])

  const late = await client.execute('python', 'import time\nprint("out", flush=True)\ntime.sleep(60)', { runTimeout: 500 })
  assert.deepEqual([late.run.stdout, late.run.code, late.run.signal, late.run.status], ['out\n', null, 'SIGKILL', 'timeout'])
  assert.match(late.run.message, /500 ms/)

  const refused = await client.execute('python', 'print(1)', { version: '2.7.18' })
  assert.equal(refused.message, `there is no python 2.7.18 here: use ${py.version}, or * for any`)
  assert.equal((await client.execute('cobol', 'x')).message.split(':')[0], 'there is no language "cobol" here')
})

test('the public address of Piston is the same', async () => {
  const runtimes = await (await fetch(`${server.url}/api/v2/piston/runtimes`)).json()
  assert.deepEqual(runtimes, await client.runtimes())
  const { status, body } = await execute(python('print(1)'), { path: '/api/v2/piston/execute' })
  assert.deepEqual([status, body.run.stdout], [200, '1\n'])
})

test('a program is compiled once and run on many inputs, in order', async () => {
  const source = '#include <stdio.h>\nint main(void) { int n; if (scanf("%d", &n) != 1) return 3; printf("%d\\n", n * n); fprintf(stderr, "-"); }\n'
  const inputs = Array.from({ length: 30 }, (_, i) => String(i))
  const { status, body } = await execute({ language: 'c', version: '*', files: [{ content: source }], stdin: [...inputs, 'x'] })
  assert.equal(status, 200)
  assert.deepEqual([body.compile.code, body.compile.status], [0, 'exited'])
  assert.deepEqual(body.runs.map((r) => r.stdout), [...inputs.map((i) => `${i * i}\n`), ''])
  assert.deepEqual(body.runs.map((r) => r.code), [...inputs.map(() => 0), 3])
  assert.deepEqual(body.run, body.runs[0])
})

test('what does not compile says so where clients look', async () => {
  const { status, body } = await execute({ language: 'c', version: '*', files: [{ content: 'int main(void) { return x; }' }], stdin: ['', ''] })
  assert.equal(status, 200)
  assert.equal(body.compile.status, 'compile_failed')
  assert.match(body.compile.stderr, /main\.c:1:.*error/)
  assert.ok(body.compile.code > 0)
  assert.deepEqual([body.run, body.runs], [body.compile, []])
})

test('files that a program leaves come back', async () => {
  const { body } = await execute(python('import os\nos.makedirs("out/d")\nopen("out/d/a.bin", "wb").write(bytes(range(256)))\nopen("/work/out/b.txt", "w").write("text")'))
  const files = Object.fromEntries(body.run.files.map((f) => [f.name, Buffer.from(f.content, f.encoding)]))
  assert.deepEqual(files, { 'd/a.bin': Buffer.from(Array.from({ length: 256 }, (_, i) => i)), 'b.txt': Buffer.from('text') })
})

test('a burst of calls: nothing is lost or mixed up', async () => {
  const calls = Array.from({ length: 120 }, async (_, i) => {
    const code = `import sys\nprint(${i}, input(), sys.argv[1], open("own").read())\nprint("e${i}", file=sys.stderr)\nsys.exit(${i} % 7)`
    const { status, body } = await execute({
      language: 'python', version: '3.x', stdin: `in${i}\n`, args: [`arg${i}`],
      files: [{ content: code }, { name: 'own', content: `file${i}` }],
    })
    assert.deepEqual([status, body.run?.stdout, body.run?.stderr, body.run?.code], [200, `${i} in${i} arg${i} file${i}\n`, `e${i}\n`, i % 7], JSON.stringify(body))
  })
  await Promise.all(calls)
})

test('too many calls are told when to try again', async () => {
  const small = await startServer({ args: ['--runs-per-minute-address', '3'] })
  try {
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await execute(python('print(1)'), small))
    assert.deepEqual(answers.map((a) => a.status), [200, 200, 200, 429])
    const last = answers[3]
    assert.equal(last.headers.get('content-type'), 'application/problem+json')
    const wait = Number(last.headers.get('retry-after'))
    assert.ok(wait >= 1 && wait <= 20, `Retry-After: ${wait}`)
    assert.match(last.body.message, /3 a minute are possible; try again in \d+ s/)
    assert.equal((await piston({ server: small.url }).execute('python', 'print(1)')).message.slice(0, 6), 'people')
  } finally { await small.stop() }
})

test('a full server says so, and serves those it took', async () => {
  const small = await startServer({ args: ['--max-running', '1', '--max-queued', '2', '--runs-per-minute-address', '1000'] })
  try {
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => execute(python(`import time\ntime.sleep(0.3)\nprint(${i})`), small)))
    answers.forEach((a, i) => {
      if (a.status === 200) return assert.equal(a.body.run.stdout, `${i}\n`)
      assert.equal(a.status, 503)
      assert.ok(Number(a.headers.get('retry-after')) >= 1)
      assert.match(a.body.detail, /full/)
    })
    const served = answers.filter((a) => a.status === 200).length
    assert.ok(served >= 3 && served < 12, `${served} of 12 were served`)
  } finally { await small.stop() }
})

test('a client that goes away frees its place', async () => {
  const small = await startServer({ args: ['--max-running', '1'] })
  try {
    const leave = new AbortController()
    const gone = fetch(`${small.url}/api/v1/execute`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, signal: leave.signal,
      body: JSON.stringify(python('import time\ntime.sleep(9)')),
    })
    gone.catch(() => {})
    await running(small, 1)
    leave.abort()
    await assert.rejects(gone)
    const { body } = await execute(python('print(1)'), small)
    assert.equal(body.run.stdout, '1\n')
    await running(small, 0)
    assert.match(await metrics(small), /^corun_box_leftovers 0$/m)
  } finally { await small.stop() }
})
