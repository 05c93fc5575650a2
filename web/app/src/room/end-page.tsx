import type { Ending } from '../live/client.ts'
import { t } from '../strings.ts'
import { Logo } from '../ui/icons.tsx'

/** What stands where a room was, when there is no way back. */
export function EndPage({ ending }: { ending: Ending }) {
  const { title, body } = t.endings[ending]
  return (
    <main class="ending" data-testid="ending">
      <Logo />
      <h1>{title}</h1>
      <p>{body}</p>
      <a class="secondary" href="/">{t.toStart}</a>
    </main>
  )
}
