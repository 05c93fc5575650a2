// An open room: top bar, sidebar, editor, terminal. On a narrow screen the
// three stand behind tabs.
import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import type { RoomLink } from '../links.ts'
import { LobbyBar } from '../lobby/lobby-bar.tsx'
import { LobbyPage } from '../lobby/lobby-page.tsx'
import { keepPage } from '../offline-page.ts'
import { RunHistory } from '../runs/history-button.tsx'
import { t } from '../strings.ts'
import { Questions } from '../ui/question.tsx'
import { BroughtNotice } from './brought.tsx'
import { Dock } from './dock.tsx'
import { EditorPane } from './editor-pane.tsx'
import { EndPage } from './end-page.tsx'
import { useRoomKeys } from './keys.ts'
import { RunPane } from './run-pane.tsx'
import { RoomSession } from './session.ts'
import { Sidebar } from './sidebar.tsx'
import { StatusBar } from './status-bar.tsx'
import { TopBar } from './top-bar.tsx'

type View = 'code' | 'output' | 'room'
const views: View[] = ['code', 'output', 'room']

export function RoomPage({ link }: { link: RoomLink }) {
  const session = useMemo(() => new RoomSession(link.room, link.token), [link.room, link.token])
  useEffect(() => {
    session.open()
    void keepPage()
    return () => session.close()
  }, [session])
  const view = useSignal<View>('code')
  const title = useComputed(() => session.title.value)
  useEffect(() => { document.title = `${title.value || t.untitled} · ${t.product}` }, [title.value])
  // At once: who goes to a line takes the focus there in the next frame.
  useSignalEffect(() => {
    const turnTo = session.turnTo.value
    if (turnTo === null) return
    view.value = turnTo
    session.turnTo.value = null
  })
  useRoomKeys(session, (pane) => { view.value = pane })

  if (session.ending.value !== null) return <EndPage ending={session.ending.value} />
  // Who waits sees nothing else. The frame stays, out of sight, as the terminal lives in it.
  const waits = session.lobby.waits.value
  return (
    <div class="room" data-view={view.value} data-waits={waits}>
      {waits && <LobbyPage session={session} />}
      <TopBar session={session} />
      <LobbyBar session={session} />
      <nav class="views" aria-label={t.room}>
        {views.map((name) => (
          <button key={name} type="button" aria-pressed={view.value === name} onClick={() => { view.value = name }}>{t[name]}</button>
        ))}
      </nav>
      <div class="stage">
        <div class="panes">
          <Sidebar session={session} />
          <EditorPane session={session} />
          <RunPane session={session} />
        </div>
        <Dock session={session} />
      </div>
      <StatusBar session={session} />
      <BroughtNotice session={session} />
      <RunHistory session={session} />
      <Questions />
      <Notices session={session} />
    </div>
  )
}

/** What must be told: to the eye while it matters, to a screen reader in words. */
function Notices({ session }: { session: RoomSession }) {
  const refused = session.doc.refused.value
  const storage = session.state.value.storageProblem
  // What was refused for that reason is taken in by itself when it is over.
  useEffect(() => { session.doc.refused.value = '' }, [storage])
  const text = storage !== '' ? storage : refused === '' ? session.notice.value : t.refused(refused)
  return (
    <>
      <div class="sr-only" role="status" aria-live="polite" data-testid="announcement">{session.announcement.value}</div>
      <div class="notice-place" role="alert">
        {text !== '' && (
          <div class="notice" data-testid="notice">
            <span>{text}</span>
            {storage === '' && <button type="button" class="quiet" onClick={() => { session.tell(''); session.doc.refused.value = '' }}>{t.dismiss}</button>}
          </div>
        )}
      </div>
    </>
  )
}
