import { signal } from '@preact/signals'

const query = matchMedia('(max-width: 820px)')

/** Whether the window is so narrow that the panes stand behind tabs; the same width as in room.css. */
export const narrow = signal(query.matches)
query.addEventListener('change', (e) => { narrow.value = e.matches })
