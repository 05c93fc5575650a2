// What is loaded ahead of its use without being in the way of the page's beginning:
// at the first quiet moment after somebody has touched the page.

// Not focus, which an editor takes by itself.
const kinds = ['pointerdown', 'pointermove', 'keydown'] as const
/** A page that is never quiet gets it all the same. */
const AT_MOST_MS = 1_000

const soon = (fn: () => void): void => {
  // Safari knows no quiet moments.
  if (typeof requestIdleCallback === 'function') requestIdleCallback(fn, { timeout: AT_MOST_MS })
  else setTimeout(fn, 0)
}

const touched = new Promise<void>((done) => {
  if (typeof document === 'undefined') return // unit tests
  const first = (): void => {
    for (const kind of kinds) removeEventListener(kind, first, true)
    soon(done)
  }
  for (const kind of kinds) addEventListener(kind, first, { capture: true, passive: true })
})

/** Calls back once the page has been touched and is quiet. */
export const whenTouched = (fn: () => void): void => { void touched.then(fn) }
