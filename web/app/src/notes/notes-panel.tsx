import { t } from '../strings.ts'
export function NotesPanel() { return <p class="pane-message">{t.dock.loading}</p> }
