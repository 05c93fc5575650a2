import { useState } from 'preact/hooks'
import type { Role } from '../live/messages.ts'
import { t } from '../strings.ts'
import { ask } from '../ui/question.tsx'
import type { RoomSession } from './session.ts'

const kinds = [
  { role: 'guest', label: t.shareGuest, hint: t.shareGuestHint },
  { role: 'viewer', label: t.shareViewer, hint: t.shareViewerHint },
] as const

export function SharePanel({ session }: { session: RoomSession }) {
  const host = session.state.value.you?.role === 'host'
  const shown = kinds.filter(({ role }) => host || session.shareLink(role) !== null)
  if (shown.length === 0) return <p class="soft">{t.shareViewerOnly}</p>
  return (
    <div class="share">
      {shown.map(({ role, label, hint }) => <ShareRow key={role} session={session} role={role} label={label} hint={hint} renewable={host} />)}
    </div>
  )
}

interface ShareRowProps {
  session: RoomSession
  role: Role
  label: string
  hint: string
  renewable: boolean
}

function ShareRow({ session, role, label, hint, renewable }: ShareRowProps) {
  const [copied, setCopied] = useState(false)
  const link = session.shareLink(role)
  const renew = async (): Promise<void> => {
    if (await ask(t.shareRenewConfirm(role), t.shareRenew)) await session.renewLink(role)
  }
  const copy = async (input: HTMLInputElement | null): Promise<void> => {
    input?.select()
    // Without a secure context there is no clipboard to write to: the link is
    // selected, so the keyboard copies it.
    await navigator.clipboard?.writeText(link ?? '').then(() => setCopied(true), () => document.execCommand('copy'))
  }
  return (
    <section class="share-row">
      <h2>{label} <small>{hint}</small></h2>
      {link === null ? (
        <p class="soft">
          {t.shareUnknown} {renewable && <button type="button" class="text" onClick={() => void renew()}>{t.shareRenew}</button>}
        </p>
      ) : (
        <div class="share-line">
          <input
            readOnly aria-label={label} value={link} data-testid={`share-${role}`}
            onFocus={(e) => e.currentTarget.select()}
          />
          <button
            type="button" class="secondary" data-testid={`copy-${role}`}
            onClick={(e) => void copy(e.currentTarget.previousElementSibling as HTMLInputElement | null)}
          >
            {copied ? t.copied : t.copy}
          </button>
        </div>
      )}
    </section>
  )
}
