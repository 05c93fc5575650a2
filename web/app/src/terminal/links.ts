// Places of the room's files in the terminal's text, as links.
import type { IBufferCell, ILink, ILinkProvider, Terminal } from '@xterm/xterm'
import type { FoundPlace, Place } from '../runs/places.ts'

export interface PlaceLinks {
  find(text: string): FoundPlace[]
  open(place: Place): void
}

/** A line as it was printed, whatever rows it takes, and the cell of each of its characters. */
interface LogicalLine {
  text: string
  cells: { x: number; y: number }[]
}

function logicalLine(term: Terminal, row: number): LogicalLine {
  const buffer = term.buffer.active
  let first = row
  while (first > 0 && buffer.getLine(first)?.isWrapped === true) first--
  const line: LogicalLine = { text: '', cells: [] }
  let cell: IBufferCell | undefined
  for (let y = first; y === first || buffer.getLine(y)?.isWrapped === true; y++) {
    const at = buffer.getLine(y)
    if (at === undefined) break
    for (let x = 0; x < at.length; x++) {
      cell = at.getCell(x, cell)
      if (cell === undefined || cell.getWidth() === 0) continue
      const chars = cell.getChars() || ' '
      for (let i = 0; i < chars.length; i++) line.cells.push({ x: x + 1, y: y + 1 })
      line.text += chars
    }
  }
  return line
}

export function placeLinks(term: Terminal, links: PlaceLinks): ILinkProvider {
  return {
    provideLinks(row, done) {
      const { text, cells } = logicalLine(term, row - 1)
      const found = links.find(text).flatMap((place): ILink[] => {
        const start = cells[place.from]
        const end = cells[place.to - 1]
        return start === undefined || end === undefined ? [] : [{ range: { start, end }, text: text.slice(place.from, place.to), activate: () => links.open(place) }]
      })
      done(found.length > 0 ? found : undefined)
    },
  }
}

/** All lines that stand in a terminal, oldest first, each as it was printed. */
export function printedLines(term: Terminal): string[] {
  const buffer = term.buffer.active
  const lines: string[] = []
  for (let y = 0; y < buffer.length; y++) {
    const row = buffer.getLine(y)
    if (row === undefined) break
    const next = buffer.getLine(y + 1)
    // A row that goes on in the next one has its spaces to its end.
    const text = row.translateToString(next?.isWrapped !== true)
    if (row.isWrapped && lines.length > 0) lines[lines.length - 1] += text
    else lines.push(text)
  }
  while (lines.length > 0 && lines.at(-1) === '') lines.pop()
  return lines
}
