// What somebody sees of a room that its host has not started.
import { useState } from 'preact/hooks'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { Logo } from '../ui/icons.tsx'
import { LookButton } from '../ui/look-button.tsx'

export function LobbyPage({ session }: { session: RoomSession }) {
  const online = session.link.value === 'open'
  return (
    <main class="ending lobby-page" data-testid="lobby">
      <Logo />
      <h1>{t.lobby.waitTitle}</h1>
      <p>{t.lobby.waitBody}</p>
      <NameForm session={session} />
      <p class="soft" role="status" data-testid="lobby-link" data-state={session.link.value}>{online ? t.lobby.connected : t.reconnecting}</p>
      <LookButton />
    </main>
  )
}

function NameForm({ session }: { session: RoomSession }) {
  const [name, setName] = useState(session.me.value.name)
  const [told, setTold] = useState(session.me.value.chosen)
  const submit = (event: Event): void => {
    event.preventDefault()
    session.rename(name)
    setName(session.me.value.name)
    setTold(true)
  }
  return (
    <form class="lobby-name" onSubmit={submit}>
      <label>
        <span>{t.yourName}</span>
        <input data-testid="name-input" maxLength={64} autocomplete="nickname" value={name} onInput={(e) => { setName(e.currentTarget.value); setTold(false) }} />
      </label>
      <button class="secondary" data-testid="name-save" disabled={told}>{t.ok}</button>
    </form>
  )
}
