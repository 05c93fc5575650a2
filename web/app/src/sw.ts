// The service worker: gives the page itself while the server is away. What the
// page keeps (offline-page.ts) is given again; nothing else is touched, and what
// the server answers comes first.
interface FetchEvent extends Event {
  readonly request: Request
  respondWith(answer: Promise<Response>): void
}
interface Worker extends EventTarget {
  skipWaiting(): Promise<void>
  readonly clients: { claim(): Promise<void> }
}
interface LifeEvent extends Event {
  waitUntil(done: Promise<unknown>): void
}
const worker = globalThis as unknown as Worker

worker.addEventListener('install', () => { void worker.skipWaiting() })
worker.addEventListener('activate', (event) => { (event as LifeEvent).waitUntil(worker.clients.claim()) })
worker.addEventListener('fetch', (event) => {
  const { request, respondWith } = event as FetchEvent
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== location.origin) return
  const answer = request.mode === 'navigate' ? page(request) : url.pathname.startsWith('/assets/') ? asset(request) : null
  if (answer !== null) respondWith.call(event, answer)
})

/** Every page is the same document: the address says which room. */
async function page(request: Request): Promise<Response> {
  try {
    return await fetch(request)
  } catch (err) {
    const kept = await caches.match('/')
    if (kept === undefined) throw err
    return kept
  }
}

/** Names carry a hash of what they hold, so what is kept is right. */
async function asset(request: Request): Promise<Response> {
  return (await caches.match(request.url)) ?? fetch(request)
}
