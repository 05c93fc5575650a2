/** What a terminal would show of bytes, without colours and other commands of its own. */
export function plainText(data: Uint8Array): string {
  return new TextDecoder().decode(data)
    .replace(/\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]/g, '')
    .replaceAll('\r\n', '\n')
}

/** Puts a return before each line feed. */
export function withReturns(data: Uint8Array): Uint8Array {
  let feeds = 0
  for (const byte of data) if (byte === 10) feeds++
  if (feeds === 0) return data
  const out = new Uint8Array(data.length + feeds)
  let at = 0
  for (const byte of data) {
    if (byte === 10) out[at++] = 13
    out[at++] = byte
  }
  return out
}
