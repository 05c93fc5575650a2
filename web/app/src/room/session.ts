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
import { LiveClient, type Ending, type Link } from '../live/client.ts'
import type { Participant, Role, ServerMessage } from '../live/messages.ts'
import * as live from '../live/state.ts'
import { bytes, driverChange, t, verdict } from '../strings.ts'
import { forgetRoom, recentRoom, rememberRoom, type RecentRoom } from '../recent.ts'
import { RunTerminal } from '../terminal/terminal.ts'
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
  /** A place that the editor is to show; each is another object. */
  readonly revealed = signal<{ file: string; pos: number } | null>(null)
  readonly doc: DocSession
  readonly tabs: Tabs
  readonly follow: Follow
  readonly terminal: RunTerminal

  /** Before the server has answered, what it said the last time: its word comes when it is back. */
  readonly mayEdit = computed(() =>
    this.state.value.you === null ? this.before?.editable === true && this.doc.loaded.value : live.mayEdit(this.state.value))
  readonly mayRun = computed(() => live.mayRun(this.state.value))
  readonly isDriver = computed(() => live.isDriver(this.state.value))
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
  private startedAt = -Infinity
  private noticeTimer: ReturnType<typeof setTimeout> | undefined

  constructor(readonly room: string, private token: string) {
    this.before = recentRoom(room, token)
    this.me = signal(identity.loadIdentity())
    this.tokens = signal(identity.loadTokens(room))
    const session = identity.newSession()
    const origin = socketOrigin(location.origin)
    this.terminal = new RunTerminal({
      label: t.terminalLabel,
      onInput: (text) => this.type(text),
      onSize: (cols, rows) => { if (this.isDriver.value && this.active.value) this.live.send({ type: 'resize', cols, rows }) },
    })
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
    this.tabs = new Tabs(room, this.doc.files, this.shown, (id) => { this.openFile.value = id })
    this.follow = new Follow({
      doc: this.doc, people: () => this.state.value.participants, openFile: this.openFile, reveal: (file, pos) => this.reveal(file, pos),
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

  // Places.

  /** Opens a file here and brings a place of its text into sight. */
  reveal(file: string, pos: number): void {
    batch(() => {
      this.openFile.value = file
      this.revealed.value = { file, pos }
    })
  }

  // Runs.

  start(): void {
    if (!this.mayRun.value || this.active.value) return
    this.startedAt = performance.now()
    this.live.send({ type: 'run.start', ...this.terminal.size })
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
    const { name, hue } = this.me.value
    // color and colorLight are for stock clients in the same room.
    this.doc.provider.awareness.setLocalStateField('user', {
      // The participant's id lets others follow this person.
      name, hue, id: this.state.peek().you?.id ?? '', color: `hsl(${hue} 70% 40%)`, colorLight: `hsl(${hue} 70% 40% / 0.2)`,
    })
  }

  private receive(msg: ServerMessage): void {
    const before = this.state.value
    batch(() => {
      this.state.value = live.reduce(before, msg)
      this.terminal.setAccepts(this.isDriver.value && this.active.value)
    })
    const words = announcementFor(before, this.state.value, msg)
    if (words !== '') this.announcement.value = words
    switch (msg.type) {
      case 'hello':
        this.doc.recheck()
        this.shareIdentity()
        if (msg.run !== null) this.terminal.show(msg.run.number)
        break
      case 'run.queued':
      case 'run.started':
        this.terminal.show(msg.run.number)
        if (this.isDriver.value) this.live.send({ type: 'resize', ...this.terminal.size })
        break
      case 'driver.changed':
        // What was refused without the seat is taken in with it.
        if (this.isDriver.value) this.doc.refused.value = ''
        // The program's terminal has the size of the one who types into it.
        if (this.isDriver.value && this.active.value) this.live.send({ type: 'resize', ...this.terminal.size })
        break
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
        if (!RACES.has(msg.code)) this.tell(msg.message)
        break
    }
  }

  private rotated(role: Role, token: string): void {
    this.setToken(role, token)
    if (this.state.value.you?.role !== role) return
    this.token = token
    history.replaceState(null, '', roomLink('', this.room, token))
    this.live.setToken(token)
    this.doc.setToken(token)
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
