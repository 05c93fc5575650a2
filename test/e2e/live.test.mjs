// Runs, the driver's seat and people over /live, with real programs in real boxes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { docUntil, liveClient, syncClient, within } from './clients.mjs'
import { makeRoom, startServer } from './server.mjs'

let server
before(async () => { server = await startServer() })
after(async () => { await server?.stop() })

/** A room whose only file holds code, with a connected host and guest. */
async function roomWith(code, language = 'python', file) {
  const path = file ?? { python: 'main.py', bash: 'main.sh', javascript: 'main.js' }[language]
  const room = await makeRoom(server, { language, files: [{ path, content: code }] })
  const host = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna' })
  const guest = await liveClient(server, room.id, room.tokens.guest, { name: 'Gus' })
  return { room, host, guest, close: () => { host.close(); guest.close() } }
}

const exited = (c, n = 1) => c.message('run.exited', (m) => m.run.number === n).then((m) => m.run)

test('both see the output as the program prints it, and the verdict', async () => {
  const { host, guest, close } = await roomWith('import time\nprint("one", flush=True)\ninput()\nprint("two")\n')
  try {
    guest.send({ type: 'run.start' })
    const started = (await host.message('run.started')).run
    assert.equal(started.number, 1)
    assert.equal(started.language, 'python')
    assert.ok(started.startup_ms >= 0)
    for (const c of [host, guest]) await c.outputUntil(1, (t) => t.includes('one\r\n'))
    assert.ok(!host.messages.some((m) => m.type === 'run.exited'), 'output comes while the program runs')
    assert.equal((await host.message('driver.changed')).driver, guest.me.id)
    guest.type(1, 'go\n')
    for (const c of [host, guest]) {
      const run = await exited(c)
      assert.equal(run.status, 'exited')
      assert.equal(run.exit_code, 0)
      assert.ok(run.usage.wall_ms > 0 && run.usage.cpu_ms > 0 && run.usage.memory_peak_bytes > 0)
      assert.equal(c.output(1), 'one\r\ngo\r\ntwo\r\n')
    }
  } finally { close() }
})

test('pipes keep stdout and stderr apart; stdin, its echo and its end reach the program', async () => {
  const { host, guest, close } = await roomWith('import sys\nfor line in sys.stdin:\n    print("out", line.strip(), flush=True)\n    print("err", line.strip(), file=sys.stderr, flush=True)\nsys.exit(7)\n')
  try {
    host.send({ type: 'run.start', mode: 'pipes', ref: 'r1' })
    assert.equal((await host.message('run.queued')).ref, 'r1')
    await host.message('run.started')
    host.send({ type: 'stdin', run: 1, data: 'a\n' })
    const echo = await guest.message('run.stdin')
    assert.deepEqual([echo.by, echo.data], [host.me.id, 'a\n'])
    await guest.outputUntil(1, (t) => t.includes('out a\n'), 1)
    await guest.outputUntil(1, (t) => t.includes('err a\n'), 2)
    guest.send({ type: 'stdin', run: 1, data: 'mine\n', ref: 5 })
    assert.deepEqual(await guest.message('error').then((m) => [m.code, m.ref]), ['not_driver', 5])
    host.send({ type: 'stdin.eof', run: 1 })
    const run = await exited(guest)
    assert.deepEqual([run.status, run.exit_code], ['exited', 7])
    assert.equal(guest.output(1, 1), 'out a\n')
    assert.equal(guest.output(1, 2), 'err a\n')
  } finally { close() }
})

test('one run at a time; stop keeps what was printed', async () => {
  const { room, host, guest, close } = await roomWith('import time\nprint("before", flush=True)\nwhile True: time.sleep(1)\n')
  try {
    host.send({ type: 'run.start' })
    await guest.outputUntil(1, (t) => t.includes('before\r\n'))
    guest.send({ type: 'run.start', ref: 'second' })
    assert.deepEqual(await guest.message('error').then((m) => [m.code, m.ref]), ['run_active', 'second'])
    guest.send({ type: 'run.stop', run: 1 })
    assert.equal((await exited(host)).status, 'stopped')
    const out = await fetch(`${server.url}/api/v1/rooms/${room.id}/runs/1/output`, { headers: { Authorization: `Bearer ${room.tokens.viewer}` } })
    assert.equal(await out.text(), 'before\r\n')
    host.send({ type: 'run.start' })
    assert.equal((await host.message('run.started', (m) => m.run.number === 2)).run.number, 2)
    host.send({ type: 'run.stop', run: 2 })
    await exited(host, 2)
  } finally { close() }
})

test('one who joins late gets the output so far and then the rest, without gap or repeat', async () => {
  const { room, host, close } = await roomWith('import sys\nfor i in range(60000): sys.stdout.write(f"line {i}\\n")\ninput()\nfor i in range(1000): print("more", i)\n')
  let late
  try {
    host.send({ type: 'run.start' })
    await host.outputUntil(1, (t) => t.includes('line 100\r'))
    late = await liveClient(server, room.id, room.tokens.viewer, { name: 'Late' })
    assert.equal(late.hello.run.number, 1)
    await late.outputUntil(1, (t) => t.includes('line 59999\r'))
    host.type(1, '\n')
    await exited(late)
    const text = late.output(1) // throws on a gap or a repeat
    assert.ok(text.startsWith('line 0\r\nline 1\r\n') && text.includes('more 999\r\n'))
    const after = await liveClient(server, room.id, room.tokens.viewer, { name: 'After' })
    await after.outputUntil(1, (t) => t.length === text.length)
    after.close()
  } finally { late?.close(); close() }
})

test('the seat: request, give, take, release, and ten seconds for one who drops out', async () => {
  const { room, host, guest, close } = await roomWith('')
  let viewer
  try {
    guest.send({ type: 'driver.request' })
    let change = await host.message('driver.changed')
    assert.deepEqual([change.driver, change.reason], [guest.me.id, 'granted'])
    host.send({ type: 'driver.request' })
    assert.equal((await guest.message('driver.requested')).participant.id, host.me.id)
    guest.send({ type: 'driver.give', to: host.me.id })
    change = await guest.message('driver.changed', (m) => m.reason === 'given')
    assert.deepEqual([change.driver, change.by], [host.me.id, guest.me.id])
    guest.send({ type: 'driver.take', ref: 'no' })
    assert.equal((await guest.message('error', (m) => m.ref === 'no')).code, 'not_allowed')
    host.send({ type: 'driver.release' })
    assert.equal((await guest.message('driver.changed', (m) => m.reason === 'released')).driver, null)
    guest.send({ type: 'driver.take' })
    await host.message('driver.changed', (m) => m.reason === 'taken' && m.driver === guest.me.id)
    host.send({ type: 'driver.take', ref: [7] })
    await guest.message('driver.changed', (m) => m.reason === 'taken' && m.driver === host.me.id && m.ref === undefined)
    await host.message('driver.changed', (m) => m.reason === 'taken' && m.ref?.[0] === 7)

    viewer = await liveClient(server, room.id, room.tokens.viewer, { name: 'Vi' })
    viewer.send({ type: 'driver.request', ref: 1 })
    assert.equal((await viewer.message('error')).code, 'not_allowed')
    viewer.send({ type: 'run.start', ref: 2 })
    assert.equal((await viewer.message('error', (m) => m.ref === 2)).code, 'not_allowed')

    // A connection that drops and resumes is the same person and keeps the seat.
    host.ws.terminate()
    await guest.message('participant.left', (m) => m.participant.id === host.me.id)
    const back = await liveClient(server, room.id, room.tokens.host, { name: 'Hanna', resume: host.hello.resume })
    assert.equal(back.me.id, host.me.id)
    assert.equal(back.hello.driver, host.me.id)
    const before = guest.messages.length
    const left = Date.now()
    back.ws.terminate()
    const free = await guest.message('driver.changed', (m) => m.reason === 'left', before)
    assert.equal(free.driver, null)
    assert.ok(Date.now() - left >= 9_900, 'the seat was kept for ten seconds')
  } finally { viewer?.close(); close() }
})

test('twenty clients fight for the seat: only the holder’s keys ever arrive', async () => {
  const { room, host, close } = await roomWith('import sys\nfor line in sys.stdin:\n    print("got", line.strip(), flush=True)\n')
  const all = []
  try {
    for (let i = 0; i < 20; i++) all.push(await liveClient(server, room.id, room.tokens.host, { name: `F${i}` }))
    host.send({ type: 'run.start', mode: 'pipes' })
    await host.message('run.started')
    for (let round = 0; round < 10; round++) {
      for (const c of all) { c.send({ type: 'driver.take' }); c.send({ type: 'stdin', run: 1, data: `${c.me.id}\n` }) }
    }
    all[0].send({ type: 'driver.take' })
    all[0].send({ type: 'stdin', run: 1, data: 'last\n' })
    all[0].send({ type: 'stdin.eof', run: 1 })
    await exited(host)
    // In the order in which the server told it, the holder is who typed.
    let driver = null
    for (const m of host.messages) {
      if (m.type === 'driver.changed') driver = m.driver
      if (m.type === 'run.stdin') assert.equal(m.by, driver)
    }
    const echoed = host.messages.filter((m) => m.type === 'run.stdin').map((m) => m.data.trim())
    const got = host.output(1, 1).trim().split('\n').map((l) => l.slice(4))
    assert.deepEqual(got, echoed)
  } finally { all.forEach((c) => c.close()); close() }
})

test('the terminal: size, Ctrl+C, signals, end of input', async () => {
  const { host, guest, close } = await roomWith('import os, signal, sys, time\nprint(os.get_terminal_size().columns, sys.stdin.isatty(), flush=True)\nsignal.signal(signal.SIGWINCH, lambda *a: print("now", os.get_terminal_size().columns, flush=True))\ntry:\n    while True: time.sleep(0.01)\nexcept KeyboardInterrupt:\n    signal.signal(signal.SIGTERM, lambda *a: print("term", flush=True))\n    print("interrupted", flush=True)\nprint(repr(sys.stdin.read()), flush=True)\n')
  try {
    host.send({ type: 'run.start', cols: 91, rows: 33 })
    await guest.outputUntil(1, (t) => t.includes('91 True'))
    guest.send({ type: 'resize', cols: 40, rows: 10, ref: 'x' })
    assert.equal((await guest.message('error', (m) => m.ref === 'x')).code, 'not_driver')
    host.send({ type: 'resize', cols: 120, rows: 40 })
    await guest.outputUntil(1, (t) => t.includes('now 120'))
    host.type(1, '\x03')
    await guest.outputUntil(1, (t) => t.includes('interrupted'))
    host.send({ type: 'signal', run: 1, signal: 'TERM' })
    await guest.outputUntil(1, (t) => t.includes('term\r'))
    host.type(1, 'abc\n\x04')
    await guest.outputUntil(1, (t) => t.includes("'abc\\n'"))
    assert.equal((await exited(guest)).exit_code, 0)
  } finally { close() }
})

// gVisor does not count the forks that it refused.
const refusedForks = process.env.CORUN_ISOLATION === 'gvisor' ? /./ : /64 processes/
const verdicts = [
  ['a fork bomb', 'bash', 'f() { f | f & }; f; sleep 60', { mode: 'pipes' }, ['timeout', 'cpu_limit'], refusedForks],
  ['a memory bomb', 'python', 'x = []\nwhile True: x.append(bytearray(10_000_000))', {}, ['memory_limit'], /256 MiB/],
  ['a spin', 'python', 'import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass', {}, ['cpu_limit'], /10 s/],
  ['a sleep past the wall clock', 'bash', 'trap "" TERM; sleep 3600', { mode: 'pipes' }, ['timeout'], /10 s/],
  ['a flood', 'bash', 'yes', {}, ['output_limit'], /8 MiB/],
  ['the network', 'python', 'import socket\ntry:\n    socket.create_connection(("127.0.0.1", ' + 'PORT), 2)\nexcept OSError as e:\n    print("no", e)', {}, ['exited'], /./],
]
for (const [what, language, code, start, statuses, message] of verdicts) {
  test(`${what} ends as ${statuses.join(' or ')}, and the next run is unaffected`, async () => {
    const { room, host, close } = await roomWith(code.replace('PORT', server.port), language)
    const neighbour = await roomWith('print("fine")')
    try {
      host.send({ type: 'run.start', ...start })
      const run = await within(exited(host), 'the verdict', 40_000)
      assert.ok(statuses.includes(run.status), `${run.status}: ${run.message}`)
      assert.match(run.message, message)
      if (what === 'the network') assert.match(host.output(1), /^no /)
      neighbour.host.send({ type: 'run.start' })
      assert.equal((await exited(neighbour.guest)).status, 'exited')
      assert.equal(neighbour.guest.output(1), 'fine\r\n')
      const again = await fetch(`${server.url}/api/v1/rooms/${room.id}/runs/1`, { headers: { Authorization: `Bearer ${room.tokens.host}` } })
      assert.equal((await again.json()).status, run.status)
    } finally { close(); neighbour.close() }
  })
}

test('a room is refused its next run, and everybody when the server is full, in words and with a time', async () => {
  const own = await startServer({ args: ['--runs-per-minute-room', '2', '--max-running', '1', '--max-queued', '1', '--pool', '1', '--pool-memory', '1'] })
  const post = async (room) => {
    const res = await fetch(`${own.url}/api/v1/rooms/${room.id}/runs`, { method: 'POST', headers: { Authorization: `Bearer ${room.tokens.guest}`, 'Content-Type': 'application/json' }, body: '{"mode":"pipes"}' })
    return { status: res.status, retry: Number(res.headers.get('Retry-After')), answer: await res.json() }
  }
  const stop = (room, n) => fetch(`${own.url}/api/v1/rooms/${room.id}/runs/${n}/stop`, { method: 'POST', headers: { Authorization: `Bearer ${room.tokens.host}` } }).then((res) => res.text())
  try {
    const rooms = []
    for (let i = 0; i < 3; i++) rooms.push(await makeRoom(own, { language: 'bash', files: [{ path: 'main.sh', content: 'sleep 9' }] }))
    const [running, waiting, late] = rooms
    for (const room of [running, waiting]) assert.equal((await post(room)).status, 202)
    assert.equal((await post(running)).status, 409) // it has one
    const full = await post(late)
    assert.deepEqual([full.status, full.retry > 0], [503, true])
    assert.match(full.answer.detail, /the server is full: 1 runs wait already/)
    await stop(running, 1)
    await stop(waiting, 1)
    assert.equal((await post(running)).status, 202)
    await stop(running, 2)
    const often = await post(running)
    assert.deepEqual([often.status, often.retry > 0], [429, true])
    assert.match(often.answer.detail, /people in this room started too many runs: 2 a minute are possible; try again in/)
    // Who asks on /live is told the same.
    const live = await liveClient(own, running.id, running.tokens.guest)
    live.send({ type: 'run.start', ref: 1 })
    assert.match((await live.message('error', (m) => m.ref === 1)).message, /people in this room started too many runs/)
    live.close()
    assert.equal((await post(late)).status, 202) // another room is not concerned
    await stop(late, 1)
  } finally { await own.stop() }
})

test('a run takes the files as they are, also those of other people', async () => {
  const { room, host, close } = await roomWith('import helper\nprint(helper.word)')
  const editor = syncClient(server, room.id, room.tokens.guest)
  try {
    await editor.synced()
    editor.doc.transact(() => {
      editor.doc.getMap('files').set('h1', { path: 'helper.py' })
      editor.doc.getText('file/h1').insert(0, 'word = "wörd"')
    })
    const saved = await host.message('saved')
    assert.ok(saved.state_vector.length > 0)
    host.send({ type: 'run.start' })
    await exited(host)
    assert.equal(host.output(1), 'wörd\r\n')
    const then = await fetch(`${server.url}/api/v1/rooms/${room.id}/files?run=1`, { headers: { Authorization: `Bearer ${room.tokens.host}` } })
    assert.equal((await then.json()).files.length, 2)

    editor.doc.getMap('files').set('h2', { path: '../etc/passwd' })
    await docUntil(editor.doc, () => true, 'the edit')
    await host.message('saved', () => true, host.messages.length)
    host.send({ type: 'run.start', ref: 'bad' })
    const refused = await host.message('error', (m) => m.ref === 'bad')
    assert.match(refused.message, /\.\.\/etc\/passwd/)
  } finally { editor.close(); close() }
})

test('people: names, removal with the way back closed, room changes, bad messages', async () => {
  const { room, host, guest, close } = await roomWith('')
  const other = await liveClient(server, room.id, room.tokens.guest, { name: 'Olga' })
  try {
    guest.send({ type: 'participant.update', name: 'Gustav', hue: 7 })
    const updated = await host.message('participant.updated')
    assert.deepEqual([updated.participant.name, updated.participant.hue], ['Gustav', 7])
    guest.send({ type: 'room.update', title: 'mine', ref: 1 })
    assert.equal((await guest.message('error', (m) => m.ref === 1)).code, 'not_allowed')
    host.send({ type: 'room.update', title: 'ours', ref: 'title' })
    assert.equal((await host.message('room.updated')).ref, 'title')
    const heard = await guest.message('room.updated')
    assert.deepEqual([heard.room.title, heard.ref], ['ours', undefined])
    host.send({ type: 'room.update', runs_enabled: false })
    await guest.message('room.updated', (m) => m.room.runs_enabled === false)
    guest.send({ type: 'run.start', ref: 2 })
    assert.equal((await guest.message('error', (m) => m.ref === 2)).code, 'runs_disabled')

    guest.send({ type: 'no such thing', ref: { a: 1 } })
    const unknown = await guest.message('error', (m) => m.code === 'unknown_type')
    assert.deepEqual(unknown.ref, { a: 1 })
    guest.send({ type: 'resize', cols: 'wide', ref: 'typed' })
    const typed = await guest.message('error', (m) => m.ref === 'typed')
    assert.deepEqual([typed.code, typed.message], ['bad_message', 'cols is a JSON string: give a whole number'])
    guest.ws.send('{"type":')
    await guest.message('error', (m) => /JSON/.test(m.message) && m.ref === undefined)
    guest.send({ type: 'ping', ref: 9, extra: 'ignored' })
    assert.equal((await guest.message('pong')).ref, 9)

    guest.send({ type: 'participant.remove', id: host.me.id, ref: 3 })
    assert.equal((await guest.message('error', (m) => m.ref === 3)).code, 'not_allowed')
    host.send({ type: 'participant.remove', id: guest.me.id })
    assert.equal((await guest.gone()).code, 4403)
    await assert.rejects(liveClient(server, room.id, room.tokens.guest, { resume: guest.hello.resume }))
    // The other guest stays, with a link that works.
    const fresh = await other.message('token.rotated')
    const way = await liveClient(server, room.id, fresh.token)
    way.close()
    assert.equal(other.closed, null)
    host.send({ type: 'room.update', ended: true })
    assert.equal((await other.gone()).code, 4410)
  } finally { other.close(); close() }
})

test('SIGKILL of the server: an active run is lost with its output kept', async () => {
  const own = await startServer()
  try {
    const room = await makeRoom(own, { language: 'bash', files: [{ path: 'main.sh', content: 'echo kept; sleep 100' }] })
    const host = await liveClient(own, room.id, room.tokens.host)
    host.send({ type: 'run.start' })
    await host.outputUntil(1, (t) => t.includes('kept'))
    // Stored in batches: wait until the transcript has it.
    const read = () => fetch(`${own.url}/api/v1/rooms/${room.id}/runs/1/output`, { headers: { Authorization: `Bearer ${room.tokens.host}` } }).then((r) => r.text())
    await within((async () => { while ((await read()) !== 'kept\r\n') await new Promise((r) => setTimeout(r, 50)) })(), 'the transcript')
    await own.restart()
    const back = await liveClient(own, room.id, room.tokens.host)
    assert.equal(back.hello.run.status, 'lost')
    await back.outputUntil(1, (t) => t === 'kept\r\n')
    back.close()
  } finally { await own.stop() }
})

test('SIGTERM ends the server with 0 within 10 s, also while a program runs', async () => {
  const own = await startServer()
  const room = await makeRoom(own, { language: 'bash', files: [{ path: 'main.sh', content: 'trap "" TERM INT HUP; echo up; while :; do sleep 1; done' }] })
  const host = await liveClient(own, room.id, room.tokens.host)
  host.send({ type: 'run.start' })
  await host.outputUntil(1, (t) => t.includes('up'))
  const editor = syncClient(own, room.id, room.tokens.guest)
  await editor.synced()
  const left = within(new Promise((resolve) => editor.provider.on('connection-close', (e) => resolve(e.code))), 'the close')
  const began = Date.now()
  assert.equal(await own.stop(), 0)
  assert.ok(Date.now() - began < 10_000)
  assert.equal((await exited(host)).status, 'lost')
  assert.equal((await host.gone()).code, 1001)
  assert.equal(await left, 1001)
  editor.close()
})
