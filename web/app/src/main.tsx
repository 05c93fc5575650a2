// The page's entry: the start page at /, a room at /r/{room}, its past at
// /r/{room}/playback.
import { render } from 'preact'
import { markLanguage, speak } from './language.ts'
import { parseRoomLink } from './links.ts'
import '@xterm/xterm/css/xterm.css'
import './styles/base.css'
import './styles/start.css'
import './styles/room.css'
import './styles/panels.css'
import './styles/playback.css'
import './styles/runs.css'
import './styles/host.css'
import './styles/contrast.css'
import './theme.ts'

const root = document.getElementById('app')
if (root === null) throw new Error('index.html has no #app')

// Words first: nothing is shown in one language and then in another.
markLanguage()
const spoken = speak()
const link = parseRoomLink(location.href, location.origin)
if (link === null) {
  void Promise.all([import('./start/start-page.tsx'), spoken]).then(([{ StartPage }]) => render(<StartPage />, root))
} else if (link.playback) {
  void Promise.all([import('./playback/playback-page.tsx'), spoken]).then(([{ PlaybackPage }]) => render(<PlaybackPage link={link} />, root))
} else {
  // The editor and the terminal are most of the code: the start page does
  // without them.
  void Promise.all([import('./room/room-page.tsx'), spoken]).then(([{ RoomPage }]) => render(<RoomPage link={link} />, root))
}

// Another link in the same tab is another room or another right.
addEventListener('hashchange', () => location.reload())
