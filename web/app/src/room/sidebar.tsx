import { t } from '../strings.ts'
import { Files } from './files.tsx'
import { People } from './people.tsx'
import type { RoomSession } from './session.ts'

export function Sidebar({ session }: { session: RoomSession }) {
  return (
    <aside class="sidebar" aria-label={t.room}>
      <Files session={session} />
      <People session={session} />
    </aside>
  )
}
