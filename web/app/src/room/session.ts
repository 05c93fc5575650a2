// An open room: both sockets, what is known from them as signals, and what a
// person can do. Components read the signals and call the methods.
import { batch, computed, effect, signal, type ReadonlySignal, type Signal } from '@preact/signals'
import * as api from '../api.ts'
import * as files from '../doc/files.ts'
import { OfflineCopy } from '../doc/offline.ts'
import { DocSession } from '../doc/session.ts'
import { fromBase64 } from '../doc/vector.ts'
import * as identity from '../identity.ts'
import { roomLink, socketOrigin } from '../links.ts'
import { Chat } from '../live/chat.ts'
import { LiveClient, type Ending, type Link } from '../live/client.ts'
import type { Participant, Role, RoomSettings, Run, RunStart, ServerMessage } from '../live/messages.ts'
import * as live from '../live/state.ts'
import { Announcer } from '../runs/announcer.ts'
import { loadOptions, saveOptions, splitArgs, startFields, type RunOptions } from '../runs/options.ts'
import { findPlaces, type Place } from '../runs/places.ts'
import type { CodeFile } from '../runs/code.ts'
import { RunView } from '../runs/view.ts'
import { bytes, driverChange, t, verdict } from '../strings.ts'
import { plainText } from '../terminal/text.ts'
import { Lobby } from '../live/lobby.ts'
import { Tests, type TestCase } from '../live/tests.ts'
import { NotesSession } from '../notes/notes-session.ts'
import { RoomTerminal } from '../terminal/room-terminal.ts'
import { testsOf } from '../tests/tests-api.ts'
import { narrow } from '../ui/narrow.ts'
import type { Panel } from './dock.tsx'
import { Gather } from './gather.ts'
import { anchorOf, fromAnchor, Navigation, type Spot } from './navigation.ts'
import { forgetRoom, recentRoom, rememberRoom, type RecentRoom } from '../recent.ts'
import { Follow } from './follow.ts'
import { Tabs } from './tabs.ts'

/** How long a refusal stays to be read. */
const NOTICE_MS = 8_000
/** A run that begins within this time of pressing Run is taken for its answer. */
const START_ANSWER_MS = 3_000

/** Refusals of what crossed a change on its way, such as a key typed while the
 * program ended or the seat changed hands: the page shows that change already. */
const RACES = new Set(['no_run', 'not_driver'])

export class RoomSession {
  readonly state = signal<live.LiveState>(live.initialState)
  readonly link = signal<Link>('connecting')
  readonly ending = signal<Ending | null>(null)
  readonly notice = signal('')
  /** What a screen reader is told: run results, driver changes, who comes. */
  readonly announcement = signal('')
  readonly me: Signal<identity.Identity>
  readonly tokens: Signal<identity.RoomTokens>
  /** The file that is open here, '' before one is. */
  readonly openFile = signal('')
  /** Whether the dialog to open a file by its name is up. */
  readonly quickOpen = signal(false)
  readonly doc: DocSession
  readonly tabs: Tabs
  readonly follow: Follow
  readonly terminal: RoomTerminal
  /** The shown run beside the code: its age, the places that it names, what a compiler said. */
  readonly runs: RunView
  readonly runOptions: Signal<RunOptions>
  /** The panel that is open beside the panes. */
  readonly panel = signal<Panel | null>(null)
  /** The pane that a narrow screen is to show; null once it does. */
  readonly turnTo = signal<'code' | 'output' | null>(null)
  /** The run that the history shows: null while that is shut, 0 for the last. */
  readonly shownRun = signal<number | null>(null)
  readonly chat = new Chat((msg) => this.live.send(msg), t.chat.offline)
  readonly tests: Tests
  readonly lobby = new Lobby()
  readonly navigation = new Navigation((file) => { this.openFile.value = file })
  readonly gather: Gather

  /** Before the server has answered, what it said the last time: its word comes when it is back. */
  readonly mayEdit = computed(() =>
    this.state.value.you === null ? this.before?.editable === true && this.doc.loaded.value : live.mayEdit(this.state.value))
  readonly mayRun = computed(() => live.mayRun(this.state.value))
  readonly isDriver = computed(() => live.isDriver(this.state.value))
  readonly isHost = computed(() => this.state.value.you?.role === 'host')
  readonly active = computed(() => live.isActive(this.state.value.run))
  readonly online = computed(() => this.link.value === 'open' && this.doc.connected.value)
  /** The file shown: the chosen one while it is there, else the entry, else the first. */
  readonly shown: ReadonlySignal<files.FileEntry | undefined> = computed(() => {
    const all = this.doc.files.value
    const entry = this.doc.meta.value.entry
    return all.find((f) => f.id === this.openFile.value) ?? all.find((f) => f.id === entry) ?? all[0]
  })

  /** What is known of this link from when it was last open. */
  private readonly before: RecentRoom | undefined
  private readonly offline: OfflineCopy
  private readonly stopRemembering: () => void
  private readonly live: LiveClient
  private readonly announcer = new Announcer((words) => { this.announcement.value = words })
  private readonly testsApi: ReturnType<typeof testsOf>
  private notes: NotesSession | null = null
  private startedAt = -Infinity
  private noticeTimer: ReturnType<typeof setTimeout> | undefined

  constructor(readonly room: string, private token: string) {
    this.before = recentRoom(room, token)
    this.me = signal(identity.loadIdentity())
    this.tokens = signal(identity.loadTokens(room))
    this.testsApi = testsOf(room, () => this.token)
    this.tests = new Tests(this.testsApi)
    const session = identity.newSession()
    const origin = socketOrigin(location.origin)
    this.terminal = new RoomTerminal({
      label: t.terminalLabel,
      onInput: (text) => this.type(text),
      onSize: (cols, rows) => { if (this.isDriver.value && this.active.value) this.live.send({ type: 'resize', cols, rows }) },
      places: { find: (text) => findPlaces(text, this.runs.code.paths()), open: (place) => this.goToPlace(place) },
    })
    this.runOptions = signal(loadOptions(room))
    const { name, hue } = this.me.value
    this.live = new LiveClient({
      url: `${origin}/live/${room}`, token, name, hue, resume: identity.loadResume(room), session,
      onMessage: (msg) => this.receive(msg),
      onOutput: (frame) => this.terminal.write(frame),
      onLink: (link) => { this.link.value = link },
      onEnding: (ending) => this.end(ending),
      onResume: (resume) => identity.saveResume(room, resume),
      probe: (tok) => api.probeRoom(room, tok),
    })
    this.doc = new DocSession(`${origin}/sync`, room, token, session, () => { this.live.send({ type: 'saved?' }) })
    this.runs = new RunView({
      doc: this.doc.doc,
      loaded: this.doc.loaded,
      filesOf: (run) => api.filesOfRun(room, run, this.token),
      editsSince: (run) => api.editsSince(room, run, this.token),
      transcript: async (run) => plainText(await this.runOutput(run)).split('\n'),
    })
    // What came while this page was away came as one: the server knows how many edits it is.
    this.doc.provider.on('sync', (synced) => { if (synced) void this.runs.code.recount(this.state.value.run) })
    this.gather = new Gather(({ file, anchor }) => {
      const index = fromAnchor(this.doc.doc, file, anchor)
      if (index === null || !this.doc.files.value.some((f) => f.id === file)) return false
      const back = this.navigation.here()
      this.turnTo.value = 'code'
      this.navigation.go({ file, at: index }, document.activeElement?.closest('.cm-editor') != null ? 'focus' : 'cursor')
      return { back }
    })
    this.tabs = new Tabs(room, this.doc.files, this.shown, (id) => { this.openFile.value = id })
    this.follow = new Follow({
      doc: this.doc, people: () => this.state.value.participants, openFile: this.openFile, look: (spot) => this.navigation.go(spot, 'look'),
    })
    this.offline = new OfflineCopy(room, this.doc)
    if (this.before !== undefined && this.before.role !== 'viewer') this.offline.start()
    this.stopRemembering = effect(() => this.remember())
    this.shareIdentity()
  }

  open(): void {
    this.live.open()
  }

  close(): void {
    clearTimeout(this.noticeTimer)
    this.announcer.close()
    this.runs.close()
    this.notes?.close()
    this.live.close()
    this.tabs.destroy()
    this.follow.destroy()
    this.stopRemembering()
    this.doc.close()
  }

  /** Keeps what opens this room again, and its document where this person may edit. */
  private remember(): void {
    const { you } = this.state.value
    if (this.doc.outdated.value) {
      void this.offline.forget().then(() => location.reload())
      return
    }
    if (you === null) return
    // What the server does not take must not come back with every reload.
    if (this.doc.refused.value.startsWith('permission denied')) void this.offline.forget()
    if (you.role !== 'viewer') this.offline.start()
    rememberRoom({
      room: this.room, token: this.token, role: you.role, title: this.title.value, at: Date.now(),
      editable: live.mayEdit({ ...this.state.value, storageProblem: '' }),
    })
  }

  private end(ending: Ending): void {
    const role = this.state.peek().you?.role ?? this.before?.role
    this.ending.value = ending
    this.close()
    if (role === undefined) return // a link that never led anywhere says nothing of the room
    forgetRoom(this.room, role)
    if (role === 'viewer') return
    void this.offline.forget()
    this.tabs.forget()
  }

  // Runs.

  start(): void {
    const split = splitArgs(this.runOptions.value.args)
    if ('unclosed' in split) this.tell(t.runs.badArgs(t.runs.unclosed[split.unclosed]))
    else this.launch(startFields(this.runOptions.value, this.doc.files.value.map((f) => f.path)))
  }

  setRunOptions(change: Partial<RunOptions>): void {
    this.runOptions.value = { ...this.runOptions.value, ...change }
    saveOptions(this.room, this.runOptions.value)
  }

  /** Runs again as a former run was started: the code as it is now, or as it was then. */
  async runAgain(run: Run, code: 'now' | 'then'): Promise<void> {
    try {
      this.launch({
        language: run.language, entry: run.entry, mode: run.mode, ...(run.args?.length ? { args: run.args } : {}),
        ...(run.stdin === 'given' ? { stdin: await api.givenStdin(this.room, run, this.token) } : {}),
        ...(code === 'then' && run.created_at !== undefined ? { at: run.created_at } : {}),
      })
    } catch (err) {
      this.tell(err instanceof Error ? err.message : String(err))
    }
  }

  /** Goes to where a line that the shown run has named is now. */
  goToPlace(place: Place): void {
    void this.runs.spotOf(place).then((spot) => { spot === null ? this.tell(t.runs.placeGone(place.path)) : this.goTo(spot) })
  }

  /** The last runs, and one more that may be older; 0 is none more. */
  async listRuns(more: number): Promise<Run[]> {
    const all = await api.runs(this.room, this.token)
    return more === 0 || all.some((run) => run.number === more) ? all : [...all, await api.run(this.room, more, this.token)]
  }

  readonly runFiles = (run: number): Promise<CodeFile[]> => api.filesOfRun(this.room, run, this.token)
  readonly runOutput = (run: number): Promise<Uint8Array> => api.runOutput(this.room, run, this.token)

  private launch(how: RunStart): void {
    if (!this.mayRun.value || this.active.value) return
    this.startedAt = performance.now()
    this.tell('') // what kept the last try from starting is over
    this.sendStart(how)
  }

  /** A program is told the size of its terminal when it begins. */
  private sendStart(how: RunStart): void {
    const send = (): void => { this.live.send({ type: 'run.start', ...this.terminal.size, ...how }) }
    this.terminal.ready().then(send, send)
  }

  /** Whether the run that just began is the one this person asked for. */
  startedHere(): boolean {
    return performance.now() - this.startedAt < START_ANSWER_MS
  }

  stop(): void {
    const { run } = this.state.value
    if (live.isActive(run)) this.live.send({ type: 'run.stop', run: run.number })
  }

  /** A file that a run left. */
  artefact(run: number, path: string, signal?: AbortSignal): Promise<Blob> {
    return api.artefact(this.room, run, path, this.token, signal)
  }

  private type(text: string): void {
    const { run } = this.state.value
    if (!live.isActive(run) || !this.isDriver.value) return
    if (run.mode === 'terminal') {
      this.live.input(run.number, text)
      return
    }
    // A pipe knows neither returns nor Ctrl+D.
    const [before = '', ...rest] = text.replaceAll('\r', '\n').split('\x04')
    if (before !== '') this.live.input(run.number, before)
    if (rest.length > 0) this.live.send({ type: 'stdin.eof', run: run.number })
  }

  // The driver's seat.

  takeSeat(): void { this.live.send({ type: 'driver.take' }) }
  releaseSeat(): void { this.live.send({ type: 'driver.release' }) }
  giveSeat(to: string): void { this.live.send({ type: 'driver.give', to }) }

  requestSeat(): void { this.live.send({ type: 'driver.request' }) }
  withdrawRequest(): void { this.live.send({ type: 'driver.request', withdraw: true }) }
  grantSeat(to: string): void { this.live.send({ type: 'driver.grant', to }) }
  denySeat(to: string): void { this.live.send({ type: 'driver.deny', to }) }
  rotateSeat(minutes: number): void { this.live.send({ type: 'driver.rotate', minutes }) }

  // People and the room.

  rename(raw: string): void {
    const name = identity.cleanName(raw) || this.me.value.name
    this.me.value = { ...this.me.value, name, chosen: true }
    identity.saveIdentity(this.me.value)
    this.live.setPerson(name, this.me.value.hue)
    this.shareIdentity()
  }

  removePerson(person: Participant): void {
    this.live.send({ type: 'participant.remove', id: person.id })
    // The removal replaces the link that person held.
    if (person.role !== 'host') this.setToken(person.role, undefined)
  }

  setLanguage(name: string): void {
    const known = this.state.value.languages
    const entry = (language: string): string | undefined => known.find((l) => l.name === language)?.entry
    const next = entry(name)
    if (next !== undefined) files.setLanguage(this.doc.doc, name, entry(this.doc.meta.value.language), next)
  }

  setTitle(title: string): void {
    const clean = title.trim().slice(0, 100)
    if (clean !== this.title.value) files.setMeta(this.doc.doc, 'title', clean)
  }

  readonly title = computed(() => this.doc.meta.value.title || this.state.value.room?.title || '')

  /** Changes what a host may set; everybody sees it when the server has. */
  updateRoom(settings: RoomSettings): void {
    if (!this.live.send({ type: 'room.update', ...settings })) this.tell(t.chat.offline)
  }

  // Tests.

  runTests(): void {
    if (this.mayRun.value && !this.active.value) this.sendStart({ mode: 'tests' })
  }

  /** Replaces all test cases; its error is the server's. */
  saveTests(cases: TestCase[]): Promise<void> {
    return this.testsApi.save(cases)
  }

  /** The hosts' private notes. */
  openNotes(): NotesSession {
    this.notes ??= new NotesSession(`${socketOrigin(location.origin)}/sync`, this.room, this.token, this.user())
    return this.notes
  }

  // Places.

  /** Shows a place in a file, and takes the focus there. */
  goTo(spot: Spot): void {
    this.uncover()
    this.turnTo.value = 'code'
    this.navigation.go(spot, 'focus')
  }

  /** Shows what a run printed: the present one in the terminal. */
  showRun(run: number): void {
    if (this.state.value.run?.number === run) {
      this.uncover()
      this.turnTo.value = 'output'
      this.terminal.focus()
    } else {
      this.uncover()
      this.shownRun.value = run
    }
  }

  /** Shuts a panel that stands in front of the panes, as on a phone. */
  uncover(): void {
    if (narrow.value) this.panel.value = null
  }

  /** Brings everybody where this person is. */
  bringEveryone(): void {
    const here = this.navigation.here()
    if (here === null) return
    this.live.send({ type: 'bring', file: here.file, anchor: anchorOf(files.textOf(this.doc.doc, here.file), here.at) })
  }

  // Links.

  /** The token that opens this room here. */
  get pass(): string {
    return this.token
  }

  /** The link for a role that this browser may hand on, or null. */
  shareLink(role: Role): string | null {
    const mine = this.state.value.you?.role === role ? this.token : undefined
    const token = mine ?? this.tokens.value[role]
    return token === undefined ? null : roomLink(location.origin, this.room, token)
  }

  async renewLink(role: Role): Promise<void> {
    try {
      const { token } = await api.rotateToken(this.room, role, this.token)
      this.setToken(role, token)
    } catch (err) {
      this.tell(err instanceof Error ? err.message : String(err))
    }
  }

  /** Shows a refusal or a hint for a while. */
  tell(text: string): void {
    clearTimeout(this.noticeTimer)
    this.notice.value = text
    if (text !== '') this.noticeTimer = setTimeout(() => { this.notice.value = '' }, NOTICE_MS)
  }

  private setToken(role: Role, token: string | undefined): void {
    const { [role]: _old, ...rest } = this.tokens.value
    this.tokens.value = token === undefined ? rest : { ...rest, [role]: token }
    identity.saveTokens(this.room, this.tokens.value)
  }

  private shareIdentity(): void {
    this.doc.provider.awareness.setLocalStateField('user', this.user())
    this.notes?.provider.awareness.setLocalStateField('user', this.user())
  }

  /** Who this is to others in a document. */
  private user(): Record<string, unknown> {
    const { name, hue } = this.me.value
    // color and colorLight are for stock clients in the same room.
    return {
      // The participant's id lets others follow this person.
      name, hue, id: this.state.peek().you?.id ?? '', color: `hsl(${hue} 70% 40%)`, colorLight: `hsl(${hue} 70% 40% / 0.2)`,
    }
  }

  private receive(msg: ServerMessage): void {
    const before = this.state.value
    batch(() => {
      this.state.value = live.reduce(before, msg)
      this.terminal.setAccepts(this.isDriver.value && this.active.value)
    })
    this.receiveLobby(msg)
    this.receiveChat(msg)
    this.receiveCall(msg)
    this.tests.receive(msg)
    const words = announcementFor(before, this.state.value, msg)
    if (words !== '') this.announcer.say(words)
    switch (msg.type) {
      case 'hello':
        this.doc.recheck()
        this.shareIdentity()
        if (msg.run !== null) this.terminal.show(msg.run.number)
        void this.runs.found(msg.run)
        break
      case 'run.queued':
      case 'run.started':
        this.terminal.show(msg.run.number)
        this.runs.began(msg.run)
        if (this.isDriver.value) this.live.send({ type: 'resize', ...this.terminal.size })
        break
      case 'driver.changed':
        // What was refused without the seat is taken in with it.
        if (this.isDriver.value) this.doc.refused.value = ''
        // The program's terminal has the size of the one who types into it.
        if (this.isDriver.value && this.active.value) this.live.send({ type: 'resize', ...this.terminal.size })
        break
      case 'run.exited':
        void this.runs.ended(msg.run, () => this.terminal.lines())
        break
      case 'driver.denied': {
        const name = this.state.value.participants.find((p) => p.id === msg.by)?.name
        this.tell(name === undefined ? t.seat.deniedUnknown : t.seat.denied(name))
        break
      }
      case 'run.stdin':
        this.terminal.echo(msg.data)
        break
      case 'run.truncated':
        this.terminal.note(t.outputDropped(bytes(msg.dropped)))
        break
      case 'saved':
        this.doc.saved(fromBase64(msg.state_vector))
        break
      case 'token.rotated':
        this.rotated(msg.role, msg.token)
        break
      case 'error':
        if (!RACES.has(msg.code) && !this.chat.refused(msg.ref, msg.message)) this.tell(msg.message)
        break
    }
  }

  private receiveLobby(msg: ServerMessage): void {
    const news = this.lobby.receive(msg)
    if (msg.type === 'lobby') this.doc.pause()
    if (news?.kind === 'started') this.doc.resume()
    if (news !== null) this.announcement.value = news.kind === 'came' ? t.lobby.came(news.name) : t.lobby.started
  }

  private receiveCall(msg: ServerMessage): void {
    const you = this.state.value.you?.id
    this.gather.receive(msg, you)
    if (msg.type !== 'bring' || msg.by.id !== you) return
    this.announcement.value = t.bring.done
    this.tell(t.bring.done)
  }

  private receiveChat(msg: ServerMessage): void {
    const me = this.state.value.you?.id ?? ''
    const open = this.panel.value === 'chat'
    if (msg.type === 'hello') this.chat.restore(msg.chat ?? [], me, open)
    else if (msg.type === 'chat.removed') this.chat.removed(msg.id)
    else if (msg.type === 'chat') {
      this.chat.add(msg.message, msg.ref, me, open)
      if (!open && msg.message.by.id !== me) this.announcement.value = t.chat.says(msg.message.by.name, msg.message.text)
    }
  }

  private rotated(role: Role, token: string): void {
    this.setToken(role, token)
    // One who waits keeps their way in when somebody else who waits is turned away.
    if ((this.lobby.you ?? this.state.value.you)?.role !== role) return
    this.token = token
    history.replaceState(null, '', roomLink('', this.room, token))
    this.live.setToken(token)
    this.doc.setToken(token)
    this.notes?.setToken(token)
  }
}

/** What a change means in words for those who do not see it, or ''. */
export function announcementFor(before: live.LiveState, after: live.LiveState, msg: ServerMessage): string {
  switch (msg.type) {
    case 'participant.joined':
      return before.participants.some((p) => p.id === msg.participant.id) ? '' : t.says.joined(msg.participant.name)
    case 'participant.left':
      return t.says.left(msg.participant.name)
    case 'driver.changed': {
      const name = after.participants.find((p) => p.id === msg.driver)?.name ?? null
      return driverChange(msg.reason, name, msg.driver === after.you?.id)
    }
    case 'driver.requested':
      return t.driverAsks(msg.participant.name)
    case 'driver.rotation':
      if ((before.rotation?.minutes ?? 0) === msg.minutes) return ''
      return msg.minutes === 0 ? t.seat.rotationOff : t.seat.rotationSet(String(msg.minutes))
    case 'run.started':
      return t.says.runStarted(msg.run.started_by_name)
    case 'run.exited': {
      const { head, detail } = verdict(msg.run)
      return detail === '' ? head : `${head}: ${detail}`
    }
    default:
      return ''
  }
}
