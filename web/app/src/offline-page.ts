// Keeps the page's own files in this browser, so that a room can be opened again
// while the server is away. No room's address or secret is kept here.
const PREFIX = 'corun-page-'

export async function keepPage(): Promise<void> {
  // Not without a secure context; then a reload needs the server.
  if (!('serviceWorker' in navigator) || typeof caches === 'undefined') return
  try {
    await navigator.serviceWorker.register('/assets/sw.js', { scope: '/' })
    const main = document.querySelector<HTMLScriptElement>('script[type=module]')?.src ?? ''
    const name = PREFIX + new URL(main, location.href).pathname
    for (const old of await caches.keys()) if (old.startsWith(PREFIX) && old !== name) await caches.delete(old)
    const cache = await caches.open(name)
    await cache.add('/')
    const keep = (entries: PerformanceEntryList): void => {
      for (const { name: url } of entries) {
        if (new URL(url).pathname.startsWith('/assets/')) void cache.match(url).then((kept) => (kept === undefined ? cache.add(url) : undefined)).catch(() => {})
      }
    }
    new PerformanceObserver((list) => keep(list.getEntries())).observe({ type: 'resource', buffered: true })
  } catch {
    // The page works without; only a reload needs the server then.
  }
}
