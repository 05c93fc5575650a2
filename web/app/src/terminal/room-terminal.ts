// The room's terminal. What draws it is a third of the page's code: it is loaded when
// there is something to draw, or ahead of that once somebody has touched the page.
// Until then what comes for it waits in order.
import { signal } from '@preact/signals'
import type { OutputFrame } from '../live/frames.ts'
import type { Theme } from '../theme.ts'
import { whenTouched } from '../ui/touched.ts'
import type { RunTerminal, TerminalOptions } from './terminal.ts'

/** What a program is told of a terminal that is not there yet; it hears when that is. */
const USUAL_SIZE = { cols: 80, rows: 24 }

export class RoomTerminal {
  readonly finding = signal(false)
  readonly matches = signal({ at: 0, of: 0 })
  private term: RunTerminal | null = null
  private loading: Promise<RunTerminal> | null = null
  private readonly waiting: ((term: RunTerminal) => void)[] = []
  private parent: HTMLElement | null = null
  private accepts = false
  private theme: Theme = { dark: false, contrast: false }
  private label: string | null = null
  private gone = false

  constructor(private readonly opts: TerminalOptions) {
    whenTouched(() => { if (!this.gone) this.ready().catch(() => undefined) })
  }

  /** Loads what draws it. One that could not be had is asked for again the next time. */
  ready(): Promise<RunTerminal> {
    return (this.loading ??= this.load().catch((err: unknown) => {
      this.loading = null
      throw err
    }))
  }

  get size(): { cols: number; rows: number } {
    return this.term?.size ?? USUAL_SIZE
  }

  open(parent: HTMLElement): void {
    this.parent = parent
    this.term?.open(parent)
  }

  setAccepts(accepts: boolean): void {
    this.accepts = accepts
    this.term?.setAccepts(accepts)
  }

  setTheme(theme: Theme): void {
    this.theme = theme
    this.term?.setTheme(theme)
  }

  setLabel(label: string): void {
    this.label = label
    this.term?.setLabel(label)
  }

  show(run: number): void { this.do((term) => term.show(run)) }
  write(frame: OutputFrame): void { this.do((term) => term.write(frame)) }
  echo(text: string): void { this.do((term) => term.echo(text)) }
  note(text: string): void { this.do((term) => term.note(text)) }
  focus(): void { this.do((term) => term.focus()) }
  clear(): void { this.term?.clear() }

  async lines(): Promise<string[]> { return (await this.ready()).lines() }
  async textToCopy(): Promise<string> { return (await this.ready()).textToCopy() }
  find(text: string, way: 'next' | 'before' | 'typing'): void { this.term?.find(text, way) }
  endFind(): void {
    this.finding.value = false
    this.term?.endFind()
  }

  dispose(): void {
    this.gone = true
    this.term?.dispose()
  }

  private do(act: (term: RunTerminal) => void): void {
    if (this.term !== null) return act(this.term)
    this.waiting.push(act)
    this.ready().catch(() => undefined)
  }

  private async load(): Promise<RunTerminal> {
    const { RunTerminal } = await import('./terminal.ts')
    const term = new RunTerminal(this.opts, this)
    if (this.gone) {
      term.dispose()
      return term
    }
    term.setTheme(this.theme)
    term.setAccepts(this.accepts)
    if (this.parent !== null) term.open(this.parent)
    if (this.label !== null) term.setLabel(this.label)
    this.term = term
    for (const act of this.waiting.splice(0)) act(term)
    return term
  }
}
