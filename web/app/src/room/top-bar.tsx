import { useState } from 'preact/hooks'
import { playbackLink } from '../links.ts'
import { t } from '../strings.ts'
import { HostPanel } from '../host/host-panel.tsx'
import { languageName } from '../start/language-picker.tsx'
import { HistoryIcon, Logo, ShareIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'
import { SettingsIcon } from '../ui/room-icons.tsx'
import { LookButton } from '../ui/look-button.tsx'
import { FollowButton } from './follow-bar.tsx'
import { Avatar } from './people.tsx'
import type { RoomSession } from './session.ts'
import { SharePanel } from './share-panel.tsx'

/** Faces in the bar; the sidebar has everybody. */
const FACES = 5

export function TopBar({ session }: { session: RoomSession }) {
  const { participants, driver, you } = session.state.value
  return (
    <header class="top-bar">
      <a class="brand" href="/" aria-label={`${t.product}: ${t.toStart}`}><Logo /></a>
      <h1 class="sr-only">{session.title.value || t.untitled}</h1>
      <Title session={session} />
      <LanguageSelect session={session} />
      <span class="spacer" />
      <Status session={session} />
      <span class="faces">
        {participants.slice(0, FACES).map((p) => p.id === you?.id
          ? <Avatar key={p.id} person={p} driving={p.id === driver} />
          : <FollowButton key={p.id} session={session} person={p} driving={p.id === driver} />)}
        {participants.length > FACES && <span class="more-faces">+{participants.length - FACES}</span>}
      </span>
      <Popover label={t.share} class="secondary" testid="share" face={<><ShareIcon /><span class="wide">{t.share}</span></>}>
        {() => <SharePanel session={session} />}
      </Popover>
      {session.isHost.value && (
        <Popover label={t.host.title} class="secondary square" testid="host-panel" face={<SettingsIcon />}>
          {(close) => <HostPanel session={session} close={close} />}
        </Popover>
      )}
      <a class="secondary square" data-testid="to-playback" href={playbackLink(session.room, session.pass)} aria-label={t.playback.open} title={t.playback.open}><HistoryIcon /></a>
      <LookButton />
    </header>
  )
}

function Title({ session }: { session: RoomSession }) {
  const title = session.title.value
  const [draft, setDraft] = useState<string | null>(null)
  const finish = (): void => {
    if (draft !== null) session.setTitle(draft)
    setDraft(null)
  }
  return (
    <input
      class="title" aria-label={t.title} placeholder={t.untitled} maxLength={100} spellcheck={false} data-testid="title"
      readOnly={!session.mayEdit.value} value={draft ?? title}
      onInput={(e) => setDraft(e.currentTarget.value)} onBlur={finish}
      onKeyDown={(e) => {
        if (e.key === 'Escape') { setDraft(null); e.currentTarget.blur() }
        if (e.key === 'Enter') e.currentTarget.blur()
      }}
    />
  )
}

function LanguageSelect({ session }: { session: RoomSession }) {
  const { languages } = session.state.value
  const language = session.doc.meta.value.language || session.state.value.room?.language || ''
  const now = languages.find((l) => l.name === language)
  return (
    <select
      aria-label={t.language} class="language-select" data-testid="language" value={language}
      title={[now?.version, now?.problem].filter(Boolean).join('; ') || t.language}
      disabled={!session.mayEdit.value} onChange={(e) => session.setLanguage(e.currentTarget.value)}
    >
      {now === undefined && <option value={language}>{languageName(language)}</option>}
      {languages.map((l) => <option key={l.name} value={l.name}>{languageName(l.name)}</option>)}
    </select>
  )
}

/** Whether this page is in touch, and whether the server has all of it. */
function Status({ session }: { session: RoomSession }) {
  const online = session.online.value
  const everOpen = session.state.value.you !== null
  const save = session.doc.save.value
  const saving = { local: t.unsavedOffline, sent: t.saving, saved: t.saved }
  const connection = online ? t.connected : everOpen ? t.reconnecting : t.connecting
  const state = online ? 'on' : everOpen ? 'off' : 'wait'
  return (
    <span class="status">
      <span class={`link-state ${state}`} data-testid="connection" data-state={online ? 'connected' : everOpen ? 'reconnecting' : 'connecting'} title={connection}>
        <i aria-hidden="true" /><span class="wide">{connection}</span>
      </span>
      <span class="save-state" data-testid="saved" data-state={save}>
        {saving[save]}
      </span>
    </span>
  )
}
