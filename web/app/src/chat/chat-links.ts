// Where a message's links lead, and how they are called.
import { textOf } from '../doc/files.ts'
import type { ChatLink } from '../live/chat.ts'
import { anchorOf, fromAnchor, lineAt, lineStart } from '../room/navigation.ts'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'

/** Where a link to a line leads now, or null when its file is gone. */
function placeOf(session: RoomSession, link: ChatLink): { path: string; index: number; line: number } | null {
  const file = session.doc.files.value.find((f) => f.id === link.file)
  if (file === undefined) return null
  const text = textOf(session.doc.doc, file.id)
  const index = (link.anchor === undefined ? null : fromAnchor(session.doc.doc, file.id, link.anchor)) ?? lineStart(text.toString(), link.line ?? 1)
  return { path: file.path, index, line: lineAt(text.toString(), index) }
}

export function linkWords(session: RoomSession, link: ChatLink): string {
  if (link.run !== undefined) return t.chat.run(link.run)
  const place = placeOf(session, link)
  return place === null ? t.chat.fileGone : t.chat.line(place.path, place.line)
}

export function follow(session: RoomSession, link: ChatLink): void {
  if (link.run !== undefined) {
    session.showRun(link.run)
    return
  }
  const place = placeOf(session, link)
  if (place === null || link.file === undefined) session.tell(t.chat.fileGone)
  else session.goTo({ file: link.file, at: place.index })
}

/** A link to the line that this person's cursor is in, or null when no file is open. */
export function linkOfLine(session: RoomSession): ChatLink | null {
  const here = session.navigation.here()
  if (here === null) return null
  const text = textOf(session.doc.doc, here.file)
  const line = lineAt(text.toString(), here.at)
  return { file: here.file, line, anchor: anchorOf(text, lineStart(text.toString(), line)) }
}
