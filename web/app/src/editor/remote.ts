// Other people's cursors and selections in the editor. The awareness field is
// y-codemirror's own ("cursor": {anchor, head} as relative positions), so stock
// clients and this page see each other. Colours come from a hue and names are
// set as text: what a peer sends never becomes style or markup.
import { RangeSet, type Range } from '@codemirror/state'
import { Decoration, EditorView, ViewPlugin, WidgetType, type DecorationSet, type ViewUpdate } from '@codemirror/view'
import { ySyncAnnotation } from 'y-codemirror.next'
import type { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'

/** How long a name stays at a cursor that moved. */
const NAME_SHOWN_MS = 2_500

interface Peer {
  name: string
  hue: number
}

/** A peer's name and hue, whatever it sent. Stock clients send no hue: theirs
 * follows from the client id. */
function peerOf(state: Record<string, unknown>, client: number): Peer {
  const user = state.user
  const field = (key: string): unknown =>
    typeof user === 'object' && user !== null ? (user as Record<string, unknown>)[key] : undefined
  const name = field('name')
  const hue = field('hue')
  return {
    name: typeof name === 'string' && name.trim() !== '' ? name.slice(0, 64) : 'Guest',
    hue: typeof hue === 'number' && Number.isFinite(hue) ? ((Math.round(hue) % 360) + 360) % 360 : client % 360,
  }
}

function absolute(value: unknown, doc: Y.Doc, text: Y.Text): number | null {
  if (typeof value !== 'object' || value === null) return null
  try {
    const position = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(value), doc)
    return position !== null && position.type === text ? position.index : null
  } catch {
    return null // not a position: a peer may send anything
  }
}

class CaretWidget extends WidgetType {
  constructor(private readonly peer: Peer, private readonly active: boolean) {
    super()
  }

  override eq(other: CaretWidget): boolean {
    return other.peer.name === this.peer.name && other.peer.hue === this.peer.hue && other.active === this.active
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement('span')
    caret.className = this.active ? 'remote-caret active' : 'remote-caret'
    caret.style.setProperty('--hue', String(this.peer.hue))
    caret.setAttribute('aria-hidden', 'true')
    const label = document.createElement('span')
    label.className = 'remote-name'
    label.textContent = this.peer.name
    // Word joiners keep the caret from adding a place to break the line.
    caret.append('\u2060', label, '\u2060')
    return caret
  }

  override ignoreEvent(): boolean {
    return true
  }
}

interface Seen {
  head: string
  at: number
}

class RemotePeople {
  decorations: DecorationSet = RangeSet.empty
  private readonly seen = new Map<number, Seen>()
  private fade: ReturnType<typeof setTimeout> | undefined
  private readonly redraw = (): void => { this.view.dispatch({}) }
  /** Whether somebody has moved since it was drawn, and the frame that then draws it. */
  private stale = false
  private frame: number | undefined
  private readonly changed = (change: { added: number[]; updated: number[]; removed: number[] }): void => {
    for (const client of change.removed) this.seen.delete(client)
    const others = [...change.added, ...change.updated, ...change.removed]
    if (!others.some((client) => client !== this.awareness.clientID)) return
    this.stale = true
    // Who types moves with each key: what has come by the next frame is drawn at once.
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined
      if (this.stale) this.redraw()
    })
  }

  constructor(
    private readonly view: EditorView,
    private readonly text: Y.Text,
    private readonly awareness: Awareness,
  ) {
    awareness.on('change', this.changed)
    this.draw()
  }

  update(update: ViewUpdate): void {
    this.publish(update)
    this.draw()
  }

  destroy(): void {
    clearTimeout(this.fade)
    if (this.frame !== undefined) cancelAnimationFrame(this.frame)
    this.awareness.off('change', this.changed)
  }

  /** Tells the others where this person is; a blurred editor keeps the place. */
  private publish(update: ViewUpdate): void {
    if (!update.view.hasFocus || !(update.selectionSet || update.docChanged || update.focusChanged)) return
    // What others type moves nobody's place: it is relative to the text.
    if (!update.focusChanged && update.transactions.every((tr) => tr.annotation(ySyncAnnotation) !== undefined)) return
    const { anchor, head } = update.state.selection.main
    // The text lags behind while an update of this very transaction is applied.
    if (Math.max(anchor, head) > this.text.length) return
    const cursor = {
      anchor: Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(this.text, anchor)) as unknown,
      head: Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(this.text, head)) as unknown,
    }
    const before: unknown = this.awareness.getLocalState()?.cursor
    if (JSON.stringify(before) !== JSON.stringify(cursor)) this.awareness.setLocalStateField('cursor', cursor)
  }

  private draw(): void {
    this.stale = false
    const doc = this.text.doc
    if (doc === null) return
    const length = this.view.state.doc.length
    const now = Date.now()
    let wait = 0
    const ranges: Range<Decoration>[] = []
    this.awareness.getStates().forEach((state, client) => {
      if (client === this.awareness.clientID) return
      const cursor: unknown = state.cursor
      if (typeof cursor !== 'object' || cursor === null) return
      const { anchor: rawAnchor, head: rawHead } = cursor as { anchor?: unknown; head?: unknown }
      const anchor = absolute(rawAnchor, doc, this.text)
      const head = absolute(rawHead, doc, this.text)
      if (anchor === null || head === null || anchor > length || head > length) return
      const place = JSON.stringify(rawHead)
      let seen = this.seen.get(client)
      if (seen?.head !== place) this.seen.set(client, (seen = { head: place, at: now }))
      const left = seen.at + NAME_SHOWN_MS - now
      if (left > 0) wait = wait === 0 ? left : Math.min(wait, left)
      const peer = peerOf(state, client)
      if (anchor !== head) {
        ranges.push(Decoration.mark({
          class: 'remote-selection', attributes: { style: `--hue: ${peer.hue}` },
        }).range(Math.min(anchor, head), Math.max(anchor, head)))
      }
      ranges.push(Decoration.widget({
        widget: new CaretWidget(peer, left > 0), side: head > anchor ? -1 : 1,
      }).range(head))
    })
    this.decorations = Decoration.set(ranges, true)
    clearTimeout(this.fade)
    if (wait > 0) this.fade = setTimeout(this.redraw, wait + 20)
  }
}

export const remotePeople = (text: Y.Text, awareness: Awareness) =>
  ViewPlugin.define((view) => new RemotePeople(view, text, awareness), { decorations: (p) => p.decorations })
