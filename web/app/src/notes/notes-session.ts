// The hosts' private notes: a document of their own, over a socket of its own. It is
// opened with the panel and stays for as long as the page, so that what was typed
// last gets to the server also when the panel is shut.
import { signal } from '@preact/signals'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

export class NotesSession {
  readonly doc = new Y.Doc()
  readonly text = this.doc.getText('notes')
  readonly undo = new Y.UndoManager(this.text, { trackedOrigins: new Set() })
  readonly provider: WebsocketProvider
  /** Whether the server has been in step once; before that there is nothing to show. */
  readonly loaded = signal(false)
  readonly connected = signal(false)

  constructor(serverUrl: string, room: string, token: string, user: Record<string, unknown>) {
    this.provider = new WebsocketProvider(serverUrl, `${room}/notes`, this.doc, {
      params: { token },
      // The same browser may hold a guest's link in another tab.
      disableBc: true,
      shouldReconnect: () => true,
    })
    this.provider.awareness.setLocalStateField('user', user)
    this.provider.on('status', ({ status }) => { this.connected.value = status === 'connected' })
    this.provider.on('sync', (synced) => { if (synced) this.loaded.value = true })
  }

  setToken(token: string): void {
    this.provider.params = { token }
    this.provider.disconnect()
    this.provider.connect()
  }

  close(): void {
    this.provider.destroy()
    this.undo.destroy()
    this.doc.destroy()
  }
}
