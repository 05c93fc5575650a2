// The start page: make a room, or join one by its link.
import { useEffect, useState } from 'preact/hooks'
import * as api from '../api.ts'
import { cleanName, loadIdentity, saveIdentity, saveTokens } from '../identity.ts'
import { parseRoomLink, roomLink } from '../links.ts'
import type { Language } from '../live/messages.ts'
import { t } from '../strings.ts'
import { Logo } from '../ui/icons.tsx'
import { LookButton } from '../ui/look-button.tsx'
import { LanguagePicker } from './language-picker.tsx'
import { RecentList } from './recent-list.tsx'

export function StartPage() {
  return (
    <div class="start">
      <header class="start-bar">
        <span class="brand"><Logo />{t.product}</span>
        <LookButton />
      </header>
      <main class="start-main">
        <h1>{t.tagline}</h1>
        <NewRoomForm />
        <JoinForm />
        <RecentList />
      </main>
    </div>
  )
}

function NewRoomForm() {
  const [identity] = useState(loadIdentity)
  const [name, setName] = useState(identity.name)
  const [languages, setLanguages] = useState<Language[]>([])
  const [language, setLanguage] = useState('')
  const [title, setTitle] = useState('')
  const [example, setExample] = useState(true)
  const [lobby, setLobby] = useState(false)
  const [apiToken, setApiToken] = useState('')
  const [needsToken, setNeedsToken] = useState(false)
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(false)

  useEffect(() => {
    api.languages().then((all) => {
      setLanguages(all)
      setLanguage((all.find((l) => l.name === 'python') ?? all[0])?.name ?? '')
    }, () => setProblem(t.languagesFailed))
  }, [])

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    setProblem('')
    const chosen = cleanName(name)
    saveIdentity({ ...identity, name: chosen || identity.name, chosen: chosen !== '' })
    try {
      const room = await api.makeRoom({
        ...(title.trim() === '' ? {} : { title: title.trim() }),
        ...(language === '' ? {} : { language }),
        ...(lobby ? { lobby } : {}),
        ...(example && language !== '' ? { template: 'starter' } : {}),
      }, apiToken.trim())
      saveTokens(room.id, room.tokens)
      location.assign(roomLink('', room.id, room.tokens.host))
    } catch (err) {
      if (err instanceof api.ApiError && err.status === 401) setNeedsToken(true)
      setProblem(err instanceof Error ? err.message : String(err))
      setBusy(false)
    }
  }

  return (
    <form class="card" onSubmit={(e) => void submit(e)}>
      <LanguagePicker languages={languages} value={language} onChange={setLanguage} />
      <div class="pair">
        <label class="field">
          <span>{t.yourName}</span>
          <input
            data-testid="name-input" name="name" autocomplete="nickname" maxLength={64} value={name}
            onFocus={(e) => e.currentTarget.select()} onInput={(e) => setName(e.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>{t.title} <small>{t.optional}</small></span>
          <input data-testid="title-input" name="title" maxLength={100} autocomplete="off" placeholder={t.untitled} value={title} onInput={(e) => setTitle(e.currentTarget.value)} />
        </label>
      </div>
      <label class="check">
        <input type="checkbox" data-testid="example" checked={example} onChange={(e) => setExample(e.currentTarget.checked)} />
        {t.example}
      </label>
      <label class="check">
        <input type="checkbox" data-testid="with-lobby" checked={lobby} onChange={(e) => setLobby(e.currentTarget.checked)} />
        {t.lobby.make}
      </label>
      {needsToken && (
        <label class="field">
          <span>{t.apiToken}</span>
          <input data-testid="api-token" type="password" autocomplete="off" value={apiToken} onInput={(e) => setApiToken(e.currentTarget.value)} />
          <small>{t.apiTokenHint}</small>
        </label>
      )}
      <button class="primary large" data-testid="new-room" disabled={busy} autofocus>
        {busy ? t.makingRoom : t.newRoom}
      </button>
      <p class="problem" role="alert">{problem}</p>
    </form>
  )
}

function JoinForm() {
  const [text, setText] = useState('')
  const [bad, setBad] = useState(false)
  const submit = (event: Event): void => {
    event.preventDefault()
    const link = parseRoomLink(text, location.origin)
    if (link === null) setBad(true)
    else location.assign(roomLink('', link.room, link.token))
  }
  return (
    <form class="join" onSubmit={submit}>
      <h2>{t.joinHeading}</h2>
      <div class="join-row">
        <input
          aria-label={t.joinLabel} placeholder={t.joinPlaceholder} value={text} autocomplete="off" spellcheck={false} inputMode="url"
          aria-invalid={bad} aria-describedby="join-problem" data-testid="join-link"
          onInput={(e) => { setText(e.currentTarget.value); setBad(false) }}
        />
        <button class="secondary">{t.join}</button>
      </div>
      <p class="problem" id="join-problem" role="alert">{bad ? t.joinBad : ''}</p>
    </form>
  )
}
