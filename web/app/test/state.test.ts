import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Participant, Role, RoomInfo, Run, ServerMessage } from '../src/live/messages.ts'
import { initialState, isActive, isDriver, mayEdit, mayRun, reduce, seatChoices, type LiveState } from '../src/live/state.ts'

const person = (id: string, role: Role = 'guest'): Participant => ({ id, name: id.toUpperCase(), hue: 10, role })
const room: RoomInfo = { id: 'r', title: 'T', language: 'python', locked: false, driver_only: false, runs_enabled: true, ended: false }
const run = (number: number, more: Partial<Run> = {}): Run => ({
  number, language: 'python', entry: 'main.py', mode: 'terminal', state: 'running', started_by: 'a', started_by_name: 'A', ...more,
})

function hello(you: Participant, others: Participant[] = [], driver: string | null = null, requests: string[] = []): ServerMessage {
  return { type: 'hello', protocol: 1, you, resume: 'x', participants: [you, ...others], driver, requests, room, languages: [], run: null }
}
const after = (...messages: ServerMessage[]): LiveState => messages.reduce(reduce, initialState)

test('people come, change and leave; nobody is there twice', () => {
  const s = after(
    hello(person('a', 'host')),
    { type: 'participant.joined', participant: person('b') },
    { type: 'participant.joined', participant: person('b') },
    { type: 'participant.updated', participant: { ...person('a', 'host'), name: 'Ada' } },
  )
  assert.deepEqual(s.participants.map((p) => p.name), ['Ada', 'B'])
  assert.equal(s.you?.name, 'Ada')
  assert.deepEqual(reduce(s, { type: 'participant.left', participant: person('b') }).participants.length, 1)
})

test('the seat: who may do what', () => {
  const guest = after(hello(person('a'), [person('h', 'host')]))
  assert.deepEqual(seatChoices(guest), { take: true, request: false, release: false, give: false })
  const taken = reduce(guest, { type: 'driver.changed', driver: 'h', by: 'h', reason: 'taken' })
  assert.deepEqual(seatChoices(taken), { take: false, request: true, release: false, give: false })
  const asked = reduce(taken, { type: 'driver.requested', participant: person('a') })
  assert.equal(seatChoices(asked).request, false)
  const given = reduce(asked, { type: 'driver.changed', driver: 'a', by: 'h', reason: 'given' })
  assert.ok(isDriver(given))
  assert.deepEqual(given.requests, [])
  assert.deepEqual(seatChoices(given), { take: false, request: false, release: true, give: true })
  const host = after(hello(person('h', 'host'), [person('a')], 'a'))
  assert.deepEqual(seatChoices(host), { take: true, request: false, release: false, give: true })
  const viewer = after(hello(person('v', 'viewer'), [], null))
  assert.deepEqual(seatChoices(viewer), { take: false, request: false, release: false, give: false })
})

test('requests are kept in order, once each, and go with their person', () => {
  let s = after(hello(person('a'), [person('b'), person('c')], 'a'))
  for (const id of ['c', 'b', 'c']) s = reduce(s, { type: 'driver.requested', participant: person(id) })
  assert.deepEqual(s.requests, ['c', 'b'])
  assert.deepEqual(reduce(s, { type: 'participant.left', participant: person('c') }).requests, ['b'])
  // Who gets the seat waits no longer; the others do.
  assert.deepEqual(reduce(s, { type: 'driver.changed', driver: 'c', by: 'a', reason: 'granted' }).requests, ['b'])
  assert.deepEqual(reduce(s, { type: 'driver.requests', requests: ['b'] }).requests, ['b'])
  // A hello has them all.
  assert.deepEqual(reduce(s, hello(person('a'), [person('b')], 'a', ['b'])).requests, ['b'])
})

test('how the seat goes round is known from hello on, until it ends', () => {
  const rotation = { minutes: 5, next_at: '2026-01-31T12:00:00Z', next: 'b' }
  let s = after({ ...hello(person('a'), [person('b')], 'a'), rotation } as ServerMessage)
  assert.deepEqual(s.rotation, { ...rotation, fresh: false })
  s = reduce(s, { type: 'driver.rotation', ...rotation, next: null })
  assert.deepEqual(s.rotation, { ...rotation, next: null, fresh: false }, 'another is next, the turn is the same')
  s = reduce(s, { type: 'driver.rotation', minutes: 5, next_at: '2026-01-31T12:05:00Z', next: 'b', by: 'a' })
  assert.deepEqual(s.rotation, { minutes: 5, next_at: '2026-01-31T12:05:00Z', next: 'b', fresh: true })
  assert.equal(reduce(s, { type: 'driver.rotation', minutes: 0, next_at: null, next: null }).rotation, null)
})

test('a run goes through its states, and an older one never comes back', () => {
  let s = after(hello(person('a')), { type: 'run.queued', run: run(2, { state: 'queued' }), position: 3 })
  assert.deepEqual([s.run?.state, s.position], ['queued', 3])
  s = reduce(s, { type: 'run.started', run: run(2) })
  assert.deepEqual([s.run?.state, s.position], ['running', null])
  s = reduce(s, { type: 'run.stage', run: run(2), stage: 'compile' })
  assert.equal(s.run?.stage, 'compile')
  s = reduce(s, { type: 'run.exited', run: run(1, { state: 'finished' }) })
  assert.ok(isActive(s.run))
  s = reduce(s, { type: 'run.exited', run: run(2, { state: 'finished', status: 'exited', exit_code: 0 }) })
  assert.ok(!isActive(s.run))
})

test('what a run left stays in sight until the next one is over', () => {
  const ended = (number: number, ...paths: string[]): ServerMessage => ({
    type: 'run.exited', run: run(number, { state: 'finished', status: 'exited', exit_code: 0, artefacts: paths.map((path) => ({ path, size: 1 })) }),
  })
  const shown = (s: LiveState): [number, string[]] | null => s.left && [s.left.number, (s.left.artefacts ?? []).map((f) => f.path)]
  let s = after(hello(person('a')), { type: 'run.started', run: run(1) })
  assert.equal(shown(s), null)
  s = reduce(s, ended(1, 'plot.png'))
  assert.deepEqual(shown(s), [1, ['plot.png']])
  s = reduce(s, { type: 'run.queued', run: run(2, { state: 'queued' }), position: 0 })
  s = reduce(s, { type: 'run.stage', run: run(2), stage: 'compile' })
  s = reduce(s, { type: 'run.started', run: run(2) })
  assert.deepEqual(shown(s), [1, ['plot.png']])
  // Old news of an older run, and a hello in the middle, change nothing.
  s = reduce(s, ended(1, 'other.png'))
  s = reduce(s, { ...hello(person('a')), run: run(2) } as ServerMessage)
  assert.deepEqual(shown(s), [1, ['plot.png']])
  s = reduce(s, ended(2, 'plot.png', 'table.csv'))
  assert.deepEqual(shown(s), [2, ['plot.png', 'table.csv']])
  s = reduce(s, ended(3))
  assert.equal(shown(s), null)
  // Who comes later is told with the last run.
  s = after({ ...hello(person('b')), run: run(4, { state: 'finished', artefacts: [{ path: 'late.svg', size: 9 }] }) } as ServerMessage)
  assert.deepEqual(shown(s), [4, ['late.svg']])
})

test('while the server cannot save nobody edits, and its next word ends that', () => {
  const guest = after(hello(person('a')))
  const failing = reduce(guest, { type: 'storage', writable: false, message: 'The disk is full.' })
  assert.equal(failing.storageProblem, 'The disk is full.')
  assert.equal(mayEdit(failing), false)
  assert.equal(mayRun(failing), true)
  assert.equal(mayEdit(reduce(failing, { type: 'storage', writable: true })), true)
  // Another server, or the same one again, says so anew if it is still so.
  assert.equal(reduce(failing, hello(person('a'))).storageProblem, '')
})

test('rights follow role and room', () => {
  const guest = after(hello(person('a')))
  assert.ok(mayEdit(guest) && mayRun(guest))
  const locked = reduce(guest, { type: 'room.updated', room: { ...room, locked: true, runs_enabled: false } })
  assert.ok(!mayEdit(locked) && !mayRun(locked))
  const turns = reduce(guest, { type: 'room.updated', room: { ...room, driver_only: true } })
  assert.ok(!mayEdit(turns) && mayRun(turns))
  assert.ok(mayEdit(reduce(turns, { type: 'driver.changed', driver: 'a', by: 'a', reason: 'taken' })))
  const viewer = after(hello(person('v', 'viewer')))
  assert.ok(!mayEdit(viewer) && !mayRun(viewer))
  assert.ok(!mayEdit(initialState) && !mayRun(initialState))
})

test('messages of later versions change nothing', () => {
  const s = after(hello(person('a')))
  assert.equal(reduce(s, { type: 'something.new' } as unknown as ServerMessage), s)
})
