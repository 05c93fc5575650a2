import { t } from '../strings.ts'
import { narrow } from '../ui/narrow.ts'
import { Files } from './files.tsx'
import { People } from './people.tsx'
import type { RoomSession } from './session.ts'

export function Sidebar({ session }: { session: RoomSession }) {
  // Alone in sight it is what the page is about.
  const Place = narrow.value ? 'main' : 'aside'
  return (
    <Place class="sidebar" aria-label={t.room}>
      <Files session={session} />
      <People session={session} />
    </Place>
  )
}
