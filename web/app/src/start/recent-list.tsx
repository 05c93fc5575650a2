import { useState } from 'preact/hooks'
import { roomLink } from '../links.ts'
import { forgetRoom, recentRooms } from '../recent.ts'
import { dateTime, t } from '../strings.ts'
import { CloseIcon } from '../ui/icons.tsx'

/** Rooms that were open here before; nothing where there are none. */
export function RecentList() {
  const [rooms, setRooms] = useState(recentRooms)
  if (rooms.length === 0) return null
  return (
    <section class="recent" aria-labelledby="recent-heading" data-testid="recent">
      <h2 id="recent-heading">{t.recent.heading} <small>{t.recent.hint}</small></h2>
      <ul>
        {rooms.map((r) => {
          const title = r.title || t.untitled
          return (
            <li key={`${r.room} ${r.role}`}>
              <a href={roomLink('', r.room, r.token)}>
                <b>{title}</b>
                <small>{t.roles[r.role]} · <time dateTime={new Date(r.at).toISOString()}>{dateTime(new Date(r.at))}</time></small>
              </a>
              <button
                type="button" class="quiet square" aria-label={t.recent.remove(title)} title={t.recent.remove(title)}
                onClick={() => { forgetRoom(r.room, r.role); setRooms(recentRooms()) }}
              >
                <CloseIcon />
              </button>
            </li>
          )
        })}
      </ul>
    </section>
  )
}
