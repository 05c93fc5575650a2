// The terminal pane: xterm.js, fed with output frames, and the driver's typing
// out of it.
import { effect, signal, type Signal } from '@preact/signals'
import { FitAddon } from '@xterm/addon-fit'
import { SearchAddon, type ISearchOptions } from '@xterm/addon-search'
import { WebLinksAddon } from '@xterm/addon-web-links'
import { Terminal } from '@xterm/xterm'
import { OutputCursor, PTY, STDERR, type OutputFrame } from '../live/frames.ts'
import { placeLinks, printedLines, type PlaceLinks } from './links.ts'
import type { Theme } from '../theme.ts'
import { matchColours, minimumContrast, terminalTheme } from './look.ts'
import { spoken } from './spoken.ts'
import { withReturns } from './text.ts'
import { drawByWebGL } from './webgl.ts'

export interface TerminalOptions {
  label: string
  onInput(text: string): void
  onSize(cols: number, rows: number): void
  /** Lines of files that are links in what is printed. */
  places?: PlaceLinks
}

/** Which match of a search is shown, from 1, and how many there are. */
export interface Matches {
  at: number
  of: number
}

const RED = '\x1b[31m'
const DIM = '\x1b[2m'
const PLAIN = '\x1b[0m'
const LINES_KEPT = 20_000

/** What the bar that finds text in a terminal reads. */
export interface Finding {
  /** Whether something is looked for in the output. */
  readonly finding: Signal<boolean>
  readonly matches: Signal<Matches>
}

export class RunTerminal implements Finding {
  private readonly term: Terminal
  private readonly fit = new FitAddon()
  private readonly cursor = new OutputCursor()
  private readonly encoder = new TextEncoder()
  private watcher: ResizeObserver | undefined
  private accepts = false
  private theme: Theme = { dark: false, contrast: false }
  private gone = false
  private readonly search = new SearchAddon()
  readonly finding: Signal<boolean>
  readonly matches: Signal<Matches>
  private readonly stopFollowing: () => void

  /** shown is who shows what is found, where that was there first. */
  constructor(private readonly opts: TerminalOptions, shown?: Finding) {
    this.finding = shown?.finding ?? signal(false)
    this.matches = shown?.matches ?? signal<Matches>({ at: 0, of: 0 })
    this.term = new Terminal({
      allowProposedApi: true, // marks on what was found
      cursorBlink: false,
      cursorInactiveStyle: 'outline',
      disableStdin: true,
      drawBoldTextInBrightColors: false,
      fontFamily: 'ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 13,
      lineHeight: 1.3,
      scrollback: LINES_KEPT,
      theme: terminalTheme(this.theme),
    })
    this.term.loadAddon(this.fit)
    this.term.loadAddon(this.search)
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => { this.matches.value = { at: resultIndex + 1, of: resultCount } })
    // Addresses of the web that a program prints; they open elsewhere, and are told nothing of this room.
    this.term.loadAddon(new WebLinksAddon((_event, uri) => { open(uri, '_blank', 'noopener,noreferrer') }))
    this.term.onData((text) => { if (this.accepts) this.opts.onInput(text) })
    this.term.onResize(({ cols, rows }) => this.opts.onSize(cols, rows))
    this.term.attachCustomKeyEventHandler((event) => this.takesKey(event))
    this.stopFollowing = effect(() => { this.term.options.screenReaderMode = spoken.value })
    if (opts.places !== undefined) this.term.registerLinkProvider(placeLinks(this.term, opts.places))
  }

  open(parent: HTMLElement): void {
    this.term.open(parent)
    this.term.textarea?.setAttribute('aria-label', this.opts.label)
    this.watcher = new ResizeObserver(() => this.refit())
    this.watcher.observe(parent)
    this.refit()
    void drawByWebGL(this.term, () => this.gone, (renderer) => {
      parent.dataset.renderer = renderer
      this.refit() // cells are not as large in both
    })
  }

  get size(): { cols: number; rows: number } {
    return { cols: this.term.cols, rows: this.term.rows }
  }

  /** Whether typing goes to a program now. */
  setAccepts(accepts: boolean): void {
    this.accepts = accepts
    this.term.options.disableStdin = !accepts
    this.term.options.cursorStyle = accepts ? 'block' : 'bar'
  }

  setTheme(theme: Theme): void {
    this.theme = theme
    this.term.options.theme = terminalTheme(theme)
    this.term.options.minimumContrastRatio = minimumContrast(theme)
  }

  /** What a screen reader calls the terminal. */
  setLabel(label: string): void {
    this.term.textarea?.setAttribute('aria-label', label)
  }

  /** Turns to a run: another one than before begins on an empty screen. */
  show(run: number): void {
    if (this.cursor.follow(run)) this.term.reset()
  }

  /** Turns to a run, and begins on an empty screen whichever it was. */
  restart(run: number): void {
    this.cursor.forget()
    this.cursor.follow(run)
    this.term.reset()
  }

  write(frame: OutputFrame): void {
    const { fresh, newRun } = this.cursor.accept(frame)
    if (newRun) this.term.reset()
    if (fresh.length === 0) return
    if (frame.stream === PTY) {
      this.term.write(fresh)
      return
    }
    // Pipes have no terminal that would turn line ends into returns.
    if (frame.stream === STDERR) this.term.write(RED)
    this.term.write(withReturns(fresh))
    if (frame.stream === STDERR) this.term.write(PLAIN)
  }

  /** Shows what went into a pipe; a terminal echoes by itself. */
  echo(text: string): void {
    this.term.write(this.encoder.encode(DIM))
    this.term.write(withReturns(this.encoder.encode(text)))
    this.term.write(PLAIN)
  }

  note(text: string): void {
    this.term.write(`\r\n${DIM}${text}${PLAIN}\r\n`)
  }

  focus(): void {
    this.term.focus()
  }

  /** All that is printed, line by line, when what was written last is there. */
  async lines(): Promise<string[]> {
    await new Promise<void>((done) => this.term.write('', done))
    return printedLines(this.term)
  }

  /** What is selected, or else all. */
  async textToCopy(): Promise<string> {
    return this.term.hasSelection() ? this.term.getSelection() : (await this.lines()).join('\n')
  }

  /** Empties the screen here; the run, the transcript and others' screens stay as they are. */
  clear(): void {
    this.term.clear()
  }

  /** Goes to the next place where a text stands, or the one before. */
  find(text: string, way: 'next' | 'before' | 'typing'): void {
    if (this.gone) return
    if (text === '') return this.stopMatching()
    const options: ISearchOptions = { incremental: way === 'typing', decorations: matchColours(this.theme) }
    if (way === 'before') this.search.findPrevious(text, options)
    else this.search.findNext(text, options)
  }

  endFind(): void {
    if (this.gone) return
    this.finding.value = false
    this.stopMatching()
    this.focus()
  }

  dispose(): void {
    this.gone = true
    this.stopFollowing()
    this.watcher?.disconnect()
    this.term.dispose()
  }

  private stopMatching(): void {
    this.search.clearDecorations()
    this.term.clearSelection()
    this.matches.value = { at: 0, of: 0 }
  }

  private refit(): void {
    // A hidden pane has no size to fit; xterm would shrink to nothing.
    const box = this.term.element?.parentElement
    if (box !== null && box !== undefined && box.clientWidth > 0 && box.clientHeight > 0) this.fit.fit()
  }

  /** False leaves a key to the page. */
  private takesKey(event: KeyboardEvent): boolean {
    if (event.key === 'F6') return false
    // Shift+Tab always leaves; Tab too while nothing would read it.
    if (event.key === 'Tab' && (event.shiftKey || !this.accepts)) return false
    const mod = event.ctrlKey || event.metaKey
    if (mod && (event.key === 'Enter' || event.key === '.')) return false
    // With text selected Ctrl+C copies, otherwise it interrupts the program.
    if (mod && event.key === 'c' && this.term.hasSelection()) return false
    if (mod && event.key === 'v') return false
    if (mod && !event.shiftKey && !event.altKey && event.key.toLowerCase() === 'f') {
      event.preventDefault()
      if (event.type === 'keydown') this.finding.value = true
      return false
    }
    // What closes a dialog that holds a terminal closes it while nothing reads keys.
    if (event.key === 'Escape' && !this.accepts) return false
    return true
  }
}
