/** Runs in the page: notes frames, long tasks, and for each key the time to the next paint. */
export function watch() {
  let noted = null
  let last = 0
  const frame = (now) => {
    if (noted === null) return
    if (last > 0) noted.frames.push(now - last)
    last = now
    requestAnimationFrame(frame)
  }
  addEventListener('keydown', (event) => {
    if (noted === null) return
    const mine = noted
    // A frame's work is over, and it is painted, by the task that follows its callbacks.
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => {
        mine.keys.push(performance.now() - event.timeStamp)
        port1.close()
      }
      port2.postMessage(null)
    })
  }, { capture: true })
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) if (noted !== null && startTime >= noted.from) noted.longTasks.push(duration)
  }).observe({ type: 'longtask' })
  window.watching = {
    begin() {
      noted = { from: performance.now(), frames: [], longTasks: [], keys: [] }
      last = 0
      requestAnimationFrame(frame)
    },
    end() {
      const { frames, longTasks, keys } = noted
      noted = null
      return { frames, longTasks, keys }
    },
  }
}
