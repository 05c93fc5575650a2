import * as Y from 'yjs'

/** Whether a saved state vector covers all of a document's. Both are encoded. */
export function covers(saved: Uint8Array, doc: Uint8Array): boolean {
  const have = Y.decodeStateVector(saved)
  for (const [client, clock] of Y.decodeStateVector(doc)) {
    if ((have.get(client) ?? 0) < clock) return false
  }
  return true
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
}
