// The terminal pane: xterm.js, fed with output frames, and the driver's typing
// out of it.
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import { OutputCursor, PTY, STDERR, type OutputFrame } from '../live/frames.ts'
import { terminalTheme } from './look.ts'

export interface TerminalOptions {
  label: string
  onInput(text: string): void
  onSize(cols: number, rows: number): void
}

const RED = '\x1b[31m'
const DIM = '\x1b[2m'
const PLAIN = '\x1b[0m'
const LINES_KEPT = 20_000

export class RunTerminal {
  private readonly term: Terminal
  private readonly fit = new FitAddon()
  private readonly cursor = new OutputCursor()
  private readonly encoder = new TextEncoder()
  private watcher: ResizeObserver | undefined
  private accepts = false

  constructor(private readonly opts: TerminalOptions) {
    this.term = new Terminal({
      allowProposedApi: false,
      cursorBlink: false,
      cursorInactiveStyle: 'outline',
      disableStdin: true,
      drawBoldTextInBrightColors: false,
      fontFamily: 'ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 13,
      lineHeight: 1.3,
      screenReaderMode: false,
      scrollback: LINES_KEPT,
      theme: terminalTheme(false),
    })
    this.term.loadAddon(this.fit)
    this.term.onData((text) => { if (this.accepts) this.opts.onInput(text) })
    this.term.onResize(({ cols, rows }) => this.opts.onSize(cols, rows))
    this.term.attachCustomKeyEventHandler((event) => this.takesKey(event))
  }

  open(parent: HTMLElement): void {
    this.term.open(parent)
    this.term.textarea?.setAttribute('aria-label', this.opts.label)
    this.watcher = new ResizeObserver(() => this.refit())
    this.watcher.observe(parent)
    this.refit()
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

  setDark(dark: boolean): void {
    this.term.options.theme = terminalTheme(dark)
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

  dispose(): void {
    this.watcher?.disconnect()
    this.term.dispose()
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
    return true
  }
}

/** Puts a return before each line feed. */
function withReturns(data: Uint8Array): Uint8Array {
  let feeds = 0
  for (const byte of data) if (byte === 10) feeds++
  if (feeds === 0) return data
  const out = new Uint8Array(data.length + feeds)
  let at = 0
  for (const byte of data) {
    if (byte === 10) out[at++] = 13
    out[at++] = byte
  }
  return out
}
