// A room shown again: code and terminal together as they were.
import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import * as api from '../api.ts'
import { textOf } from '../doc/files.ts'
import { FileEditor } from '../editor/editor.ts'
import { roomLink, type RoomLink } from '../links.ts'
import { Avatar } from '../room/people.tsx'
import { clock, t, verdictOf } from '../strings.ts'
import { RunTerminal } from '../terminal/terminal.ts'
import { theme } from '../theme.ts'
import { FileIcon, KeyboardIcon, Logo, PauseIcon, PlayIcon, SkipBackIcon, SkipIcon } from '../ui/icons.tsx'
import { LookButton } from '../ui/look-button.tsx'
import { loadLog, runsOf, type Log } from './log.ts'
import { Player, speeds } from './player.ts'
import { KEY_MS, Timeline } from './timeline.tsx'

type Loading = { log: Log } | { entries: number } | { failed: string }

export function PlaybackPage({ link }: { link: RoomLink }) {
  const [loading, setLoading] = useState<Loading>({ entries: 0 })
  useEffect(() => {
    const stop = new AbortController()
    loadLog((query) => api.playback(link.room, query, link.token, stop.signal), (entries) => setLoading({ entries }))
      .then((log) => setLoading({ log }))
      .catch((err: unknown) => { if (!stop.signal.aborted) setLoading({ failed: err instanceof Error ? err.message : String(err) }) })
    return () => stop.abort()
  }, [link.room, link.token])
  useEffect(() => { document.title = `${t.playback.title} · ${t.product}` }, [])
  if ('log' in loading) return <Playing link={link} log={loading.log} />
  return (
    <main class="ending">
      {'failed' in loading
        ? <><h1>{t.playback.failed}</h1><p data-testid="playback-failed">{loading.failed}</p></>
        : <p role="status">{t.playback.loading(loading.entries)}</p>}
    </main>
  )
}

function Playing({ link, log }: { link: RoomLink; log: Log }) {
  const terminal = useMemo(() => new RunTerminal({ label: t.playback.terminal, onInput: () => undefined, onSize: () => undefined }), [log])
  const player = useMemo(() => new Player(log, {
    clear: (run) => terminal.restart(run),
    write: (frame) => terminal.write(frame),
    echo: (text) => terminal.echo(text),
  }), [log, terminal])
  const hidden = useSignal<ReadonlySet<string>>(new Set())
  useEffect(() => () => player.close(), [player])
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      // Keys of the page's own, where no control has use for them.
      if (event.target instanceof Element && event.target.closest('input, select, button, a') !== null) return
      if (event.key === ' ') toggle(player)
      else if (event.key === 'ArrowLeft') player.seek(player.time.value - KEY_MS)
      else if (event.key === 'ArrowRight') player.seek(player.time.value + KEY_MS)
      else return
      event.preventDefault()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [player])
  return (
    <div class="playback">
      <header class="top-bar">
        <a class="brand" href="/" aria-label={`${t.product}: ${t.toStart}`}><Logo /></a>
        <h1 class="playback-title">{t.playback.title}</h1>
        <span class="spacer" />
        <a class="secondary" data-testid="to-room" href={roomLink('', link.room, link.token)}>{t.playback.toRoom}</a>
        <LookButton />
      </header>
      <div class="playback-panes">
        <Code player={player} />
        <Output player={player} terminal={terminal} />
      </div>
      <footer class="controls">
        <Timeline player={player} hidden={hidden.value} />
        <Controls player={player} link={link} />
        <People player={player} hidden={hidden.value} onHide={(ids) => { hidden.value = ids }} />
      </footer>
    </div>
  )
}

const toggle = (player: Player): void => { if (player.playing.value) player.pause(); else player.play() }

function Code({ player }: { player: Player }) {
  const [chosen, setChosen] = useState('')
  const files = player.files.value
  const edited = player.edited.value
  // The file that is being edited, until one is chosen.
  const file = files.find((f) => f.id === chosen) ?? files.find((f) => f.id === edited?.file) ?? files[0]
  const doc = player.doc.value
  return (
    <main class="editor-pane" data-testid="playback-code">
      <div class="pane-head file-tabs">
        {files.map((f) => (
          <button key={f.id} type="button" class="quiet file-tab" aria-pressed={f.id === file?.id} onClick={() => setChosen(f.id === chosen ? '' : f.id)}>
            <FileIcon />{f.path}
          </button>
        ))}
      </div>
      {file === undefined ? <p class="pane-message">{t.noFile}</p> : <Text key={`${doc.guid} ${file.id}`} doc={doc} file={file} at={edited?.file === file.id ? edited.at : null} />}
    </main>
  )
}

function Text({ doc, file, at }: { doc: Y.Doc; file: { id: string; path: string }; at: number | null }) {
  const place = useRef<HTMLDivElement>(null)
  const editor = useRef<FileEditor | null>(null)
  useEffect(() => {
    if (place.current === null) return
    const text = textOf(doc, file.id)
    const awareness = new Awareness(doc)
    const made = new FileEditor({ parent: place.current, text, path: file.path, awareness, undo: new Y.UndoManager(text), readOnly: true })
    editor.current = made
    return () => {
      editor.current = null
      made.destroy()
      awareness.destroy()
    }
  }, [doc, file.id])
  useEffect(() => { if (at !== null) editor.current?.reveal(at) }, [doc, file.id, at])
  return <div class="editor-place" ref={place} />
}

function Output({ player, terminal }: { player: Player; terminal: RunTerminal }) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (place.current !== null) terminal.open(place.current)
    return () => terminal.dispose()
  }, [terminal])
  useEffect(() => terminal.setTheme(theme.value), [terminal, theme.value])
  const { run, people, driver } = player.state.value
  const driving = people.find((p) => p.id === driver)
  return (
    <section class="run-pane" aria-label={t.output}>
      <div class="pane-head">
        <span class="file-title">{run === null ? t.notStarted : t.playback.runBy(run.run, run.by)}</span>
      </div>
      <div class="seat" data-testid="playback-driver" data-driver={driving?.name ?? ''}>
        {driving === undefined ? <span class="seat-empty"><KeyboardIcon /></span> : <Avatar person={driving} driving />}
        <span class="seat-words">{driving === undefined ? t.driverNobody : t.driverOther(driving.name)}</span>
      </div>
      <div class="terminal-frame" data-live={false} data-watch={false}>
        <div class="terminal" data-testid="terminal" ref={place} />
      </div>
      <p class="verdict" data-testid="playback-verdict">{run === null ? '' : run.state === 'finished' ? `${verdictOf(run.status)}: ${run.message}` : t.running}</p>
    </section>
  )
}

function Controls({ player, link }: { player: Player; link: RoomLink }) {
  const [refused, setRefused] = useState('')
  // A log's time is finer than a page's: the moment is over at the next millisecond.
  const again = (): void => {
    api.runMoment(link.room, player.time.value + 1, link.token)
      .then(() => { location.href = roomLink('', link.room, link.token) })
      .catch((err: unknown) => setRefused(err instanceof Error ? err.message : String(err)))
  }
  const playing = player.playing.value
  const runs = useMemo(() => runsOf(player.log), [player])
  const now = player.time.value
  const before = runs.findLast((r) => r.from < now - 1_000)
  const later = runs.find((r) => r.from > now)
  return (
    <div class="control-row">
      <button type="button" class="secondary" data-testid="run-before" disabled={before === undefined} aria-label={t.playback.runBefore} title={t.playback.runBefore} onClick={() => { if (before !== undefined) player.seek(before.from) }}><SkipBackIcon /></button>
      <button type="button" class="primary" data-testid="play" onClick={() => toggle(player)}>{playing ? <PauseIcon /> : <PlayIcon />}{playing ? t.playback.pause : t.playback.play}</button>
      <button type="button" class="secondary" data-testid="run-after" disabled={later === undefined} aria-label={t.playback.runAfter} title={t.playback.runAfter} onClick={() => { if (later !== undefined) player.seek(later.from) }}><SkipIcon /></button>
      <span class="clock" data-testid="clock">{clock(now - player.log.start)} / {clock(player.log.end - player.log.start)}</span>
      <label class="control">{t.playback.speed}
        <select data-testid="speed" value={String(player.speed.value)} onChange={(e) => { player.speed.value = Number(e.currentTarget.value) }}>
          {speeds.map((s) => <option key={s} value={String(s)}>×{s}</option>)}
        </select>
      </label>
      <label class="control"><input type="checkbox" data-testid="skip-idle" checked={player.skipIdle.value} onChange={(e) => { player.skipIdle.value = e.currentTarget.checked }} /> {t.playback.skipIdle}</label>
      <button type="button" class="secondary" data-testid="run-again" onClick={again}>{t.playback.runAgain}</button>
      <span class="problem" role="alert">{refused}</span>
    </div>
  )
}

/** Who took part. One who is not ticked is left out of the timeline. */
function People({ player, hidden, onHide }: { player: Player; hidden: ReadonlySet<string>; onHide(ids: ReadonlySet<string>): void }) {
  const { people } = player.state.value
  const all = [...player.log.people.values()]
  return (
    <fieldset class="control-row playback-people" data-testid="playback-people">
      <legend class="sr-only">{t.people}</legend>
      {all.map((p) => (
        <label key={p.id} class="control" data-here={people.some((there) => there.id === p.id)}>
          <input
            type="checkbox" checked={!hidden.has(p.id)}
            onChange={() => { const ids = new Set(hidden); if (!ids.delete(p.id)) ids.add(p.id); onHide(ids) }}
          />
          <Avatar person={p} /> {p.name}
        </label>
      ))}
    </fieldset>
  )
}
