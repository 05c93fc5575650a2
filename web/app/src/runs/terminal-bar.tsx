// Above the terminal: who types into it, how old its output is, and what can be done
// with what stands in it.
import { useEffect, useRef, useState } from 'preact/hooks'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { spoken } from '../terminal/spoken.ts'
import type { RunTerminal } from '../terminal/terminal.ts'
import { ClearIcon, CloseIcon, CopyIcon, DownIcon, PlaceIcon, SearchIcon, UpIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'
import { findPlaces, type FoundPlace } from './places.ts'

export function TerminalBar({ session }: { session: RoomSession }) {
  const { terminal } = session
  const edits = session.runs.code.edits.value
  const copy = async (): Promise<void> => {
    const text = await terminal.textToCopy()
    // Without a secure context there is no clipboard to write to.
    await (navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('no clipboard')))
      .then(() => session.tell(t.runs.copied), () => session.tell(t.runs.notCopied))
  }
  return (
    <div class="terminal-bar">
      <span class="terminal-words">
        <span class="run-age" data-testid="run-age" data-edits={edits} title={edits === 0 ? '' : t.runs.editsHint}>{edits === 0 ? '' : t.runs.edits(edits)}</span>
        <Problems session={session} />
        <span class="soft" data-testid="who-types">{whoTypes(session)}</span>
      </span>
      <Spoken />
      <Popover label={t.runs.places} class="quiet square" testid="places" face={<PlaceIcon />}>
        {(close) => <Places session={session} onGo={close} />}
      </Popover>
      <button type="button" class="quiet square" data-testid="find" aria-label={t.runs.find} title={`${t.runs.find} (Ctrl+F)`} onClick={() => { terminal.finding.value = true }}><SearchIcon /></button>
      <button type="button" class="quiet square" data-testid="copy-output" aria-label={t.runs.copy} title={t.runs.copy} onClick={() => void copy()}><CopyIcon /></button>
      <button type="button" class="quiet square" data-testid="clear" aria-label={t.runs.clear} title={t.runs.clear} onClick={() => terminal.clear()}><ClearIcon /></button>
    </div>
  )
}

/** In sight only for who comes by keyboard: a terminal is drawn, and reading it aloud must be asked for. */
function Spoken() {
  return (
    <button
      type="button" class="secondary small spoken" data-testid="spoken" aria-pressed={spoken.value}
      onClick={() => { spoken.value = !spoken.value }}
    >
      {t.runs.spoken}
    </button>
  )
}

/** How much the compiler found wrong, and the way to the first of it. */
function Problems({ session }: { session: RoomSession }) {
  const [first] = session.runs.problems.value
  if (first === undefined) return null
  const [file, [problem]] = first
  const count = [...session.runs.problems.value.values()].flat().filter((p) => p.severity !== 'info').length
  return (
    <button
      type="button" class="text problems" data-testid="problems" title={t.runs.problemsHint}
      onClick={() => { if (problem !== undefined) session.goTo({ file, at: { line: problem.line, column: problem.column } }) }}
    >
      {t.runs.problems(count)}
    </button>
  )
}

/** Whose typing the program gets, while it runs. */
function whoTypes(session: RoomSession): string {
  const { run, driver, participants } = session.state.value
  if (!session.active.value) return ''
  if (run?.stdin === 'given') return t.runs.given
  if (session.isDriver.value) return t.runs.youType
  const name = participants.find((p) => p.id === driver)?.name
  return name === undefined ? t.runs.watchingNobody : t.runs.watching(name)
}

/** The places that the output names, the last first: what went wrong stands at its end. */
function Places({ session, onGo }: { session: RoomSession; onGo(): void }) {
  const [found, setFound] = useState<{ place: FoundPlace; text: string }[] | null>(null)
  const list = useRef<HTMLUListElement>(null)
  useEffect(() => {
    void session.terminal.lines().then((lines) => {
      const all = lines.flatMap((text) => findPlaces(text, session.runs.code.paths()).map((place) => ({ place, text: text.trim() })))
      const seen = new Set<string>()
      setFound(all.reverse().filter(({ place }) => {
        const key = `${place.path}:${place.line}`
        return !seen.has(key) && seen.add(key)
      }).slice(0, MOST_PLACES))
    })
  }, [])
  useEffect(() => list.current?.querySelector('button')?.focus(), [found])
  // As wide as the list, which is placed before it is known.
  if (found === null) return <div class="places" />
  if (found.length === 0) return <p class="soft places" data-testid="no-places">{t.runs.noPlaces}</p>
  return (
    <ul class="menu places" data-testid="places-list" ref={list} onKeyDown={moveBetween}>
      {found.map(({ place, text }) => (
        <li key={`${place.path}:${place.line}`}>
          <button type="button" onClick={() => { onGo(); session.goToPlace(place) }}>
            <b>{t.runs.goTo(place.path, place.line)}</b><small>{text}</small>
          </button>
        </li>
      ))}
    </ul>
  )
}

const MOST_PLACES = 50

/** Arrow keys between the buttons of a list. */
export function moveBetween(event: KeyboardEvent): void {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
  if (step === 0 || !(event.currentTarget instanceof HTMLElement)) return
  const buttons = [...event.currentTarget.querySelectorAll('button')]
  const at = buttons.findIndex((button) => button === document.activeElement)
  event.preventDefault()
  buttons[Math.max(0, Math.min(at + step, buttons.length - 1))]?.focus()
}

export function FindBar({ terminal }: { terminal: Pick<RunTerminal, 'finding' | 'matches' | 'find' | 'endFind'> }) {
  const [text, setText] = useState('')
  const field = useRef<HTMLInputElement>(null)
  const open = terminal.finding.value
  useEffect(() => {
    if (!open) return
    field.current?.focus()
    field.current?.select()
    if (text !== '') terminal.find(text, 'typing')
  }, [open])
  if (!open) return null
  const { at, of } = terminal.matches.value
  return (
    <form
      class="find-bar" role="search" data-testid="find-bar" onSubmit={(e) => e.preventDefault()}
      onKeyDown={(e) => {
        if (e.key === 'Escape') terminal.endFind()
        else if (e.key === 'Enter' && e.target === field.current) terminal.find(text, e.shiftKey ? 'before' : 'next')
        else if (e.key === 'f' && (e.ctrlKey || e.metaKey)) field.current?.select()
        else return
        e.preventDefault()
        e.stopPropagation()
      }}
    >
      <input
        type="text" ref={field} aria-label={t.runs.find} placeholder={t.runs.findPlaceholder} value={text} spellcheck={false} autocomplete="off" data-testid="find-text"
        onInput={(e) => { setText(e.currentTarget.value); terminal.find(e.currentTarget.value, 'typing') }}
      />
      <span class="soft" role="status" data-testid="found">{text === '' ? '' : t.runs.found(at, of)}</span>
      <button type="button" class="quiet square" aria-label={t.runs.findBefore} title={`${t.runs.findBefore} (Shift+Enter)`} onClick={() => terminal.find(text, 'before')}><UpIcon /></button>
      <button type="button" class="quiet square" aria-label={t.runs.findNext} title={`${t.runs.findNext} (Enter)`} onClick={() => terminal.find(text, 'next')}><DownIcon /></button>
      <button type="button" class="quiet square" aria-label={t.runs.findClose} title={`${t.runs.findClose} (Escape)`} onClick={() => terminal.endFind()}><CloseIcon /></button>
    </form>
  )
}
