// Icons of the panels and of a host's controls.
import { icon } from './icons.tsx'

export const CloseIcon = icon(<path d="M4 4l8 8M12 4l-8 8" />)
export const ChatIcon = icon(<path d="M2.5 3.5h11v7.5H7.2L4.2 13.6V11H2.5z" />)
export const TestsIcon = icon(<><path d="M2.5 4.2l1.2 1.2 2-2.2M2.5 11l1.2 1.2 2-2.2" /><path d="M8.5 4.5h5M8.5 11.2h5" /></>)
export const NotesIcon = icon(<><path d="M3.5 2.5h9v7.5l-3.5 3.5H3.5z" /><path d="M12.5 10H9v3.5M6 5.5h4M6 8h2.5" /></>)
export const SettingsIcon = icon(<><path d="M2.5 4.5h6M11.5 4.5h2M2.5 11.5h2M7.5 11.5h6" /><circle cx="10" cy="4.5" r="1.6" /><circle cx="6" cy="11.5" r="1.6" /></>)
export const FormatIcon = icon(<path d="M2.5 3.5h11M5.5 6.5h8M5.5 9.5h5M2.5 12.5h11" />)
export const SendIcon = icon(<path d="M2.5 8h10M8.5 4l4 4-4 4" />)
export const LinkIcon = icon(<path d="M6.5 9.5 9.5 6.5M7 4.5l1.2-1.2a3.1 3.1 0 0 1 4.4 4.4L11.4 9M9 11.5l-1.2 1.2a3.1 3.1 0 0 1-4.4-4.4L4.6 7" />)
export const GatherIcon = icon(<><circle cx="8" cy="8" r="1.8" /><path d="M8 1.5v2.7M8 11.8v2.7M1.5 8h2.7M11.8 8h2.7" /></>)
