// The page's icons, drawn on a 16 by 16 grid; all are decoration beside text
// or a label.
import type { JSX } from 'preact'

export const icon = (path: JSX.Element) => () => (
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round">
    {path}
  </svg>
)

export const PlayIcon = icon(<path d="M4.5 2.8v10.4L13 8z" fill="currentColor" />)
export const PauseIcon = icon(<path d="M4.5 3h2.4v10H4.5zM9.1 3h2.4v10H9.1z" fill="currentColor" />)
export const SkipIcon = icon(<path d="M3.5 3v10L10 8zM12.5 3v10" />)
export const SkipBackIcon = icon(<path d="M12.5 3v10L6 8zM3.5 3v10" />)
export const HistoryIcon = icon(<><path d="M2.5 8a5.5 5.5 0 1 0 1.8-4.1M2.5 2.5v2.8h2.8" /><path d="M8 5v3.2l2.2 1.3" /></>)
export const StopIcon = icon(<rect x="3.5" y="3.5" width="9" height="9" rx="1.5" fill="currentColor" />)
export const KeyboardIcon = icon(<><rect x="1.5" y="4" width="13" height="8.5" rx="1.5" /><path d="M4 6.8h.01M6.7 6.8h.01M9.3 6.8h.01M12 6.8h.01M5 9.8h6" /></>)
export const PlusIcon = icon(<path d="M8 3v10M3 8h10" />)
export const MoreIcon = icon(<path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.4" />)
export const ShareIcon = icon(<path d="M6.5 9.5 9.5 6.5M7 4.5l1.2-1.2a3.1 3.1 0 0 1 4.4 4.4L11.4 9M9 11.5l-1.2 1.2a3.1 3.1 0 0 1-4.4-4.4L4.6 7" />)
export const FileIcon = icon(<path d="M4 1.8h5l3.2 3.2v9.2H4zM9 1.8V5h3.2" />)
export const ChevronIcon = icon(<path d="m4 6 4 4 4-4" />)
export const UpIcon = icon(<path d="m4 10 4-4 4 4" />)
export const DownIcon = icon(<path d="m4 6 4 4 4-4" />)
export const CloseIcon = icon(<path d="m4 4 8 8M12 4l-8 8" />)
export const SearchIcon = icon(<><circle cx="7" cy="7" r="4.2" /><path d="m10.2 10.2 3.3 3.3" /></>)
export const CopyIcon = icon(<><rect x="5.5" y="5.5" width="8" height="8.5" rx="1.5" /><path d="M10.5 5.5V3.5A1.5 1.5 0 0 0 9 2H4a1.5 1.5 0 0 0-1.5 1.5V9A1.5 1.5 0 0 0 4 10.5h1.5" /></>)
export const ClearIcon = icon(<><circle cx="8" cy="8" r="5.8" /><path d="m4 12 8-8" /></>)
export const PlaceIcon = icon(<path d="M2.5 4h6M2.5 8h4M2.5 12h6M10 8h4M12 5.8 14.2 8 12 10.2" />)
export const ListIcon = icon(<><path d="M6 4h7.5M6 8h7.5M6 12h7.5" /><path d="M2.5 2.8v2.4L4.3 4zM2.5 6.8v2.4L4.3 8zM2.5 10.8v2.4L4.3 12z" fill="currentColor" stroke-width="0.5" /></>)
export const FolderIcon = icon(<path d="M1.8 12.8V3.2h4.4l1.6 1.9h6.4v7.7z" />)
export const RightIcon = icon(<path d="M6 4l4 4-4 4" />)
export const SlidersIcon = icon(<path d="M2 4.5h7M12.5 4.5H14M2 11.5h1.5M7 11.5h7M9 2.7v3.6M3.5 9.7v3.6" />)
export const SunIcon = icon(<><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9" /></>)
export const MoonIcon = icon(<path d="M13.2 9.6A5.8 5.8 0 0 1 6.4 2.8a5.8 5.8 0 1 0 6.8 6.8z" />)
export const AutoIcon = icon(<><circle cx="8" cy="8" r="5.8" /><path d="M8 2.2a5.8 5.8 0 0 1 0 11.6z" fill="currentColor" /></>)
export const Logo = () => (
  <svg class="logo" viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
    <rect width="32" height="32" rx="8" class="logo-tile" />
    <path d="M9 9.5v13l7-6.5zM17 9.5v13l7-6.5z" fill="#fff" />
  </svg>
)
