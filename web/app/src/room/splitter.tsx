import { useEffect, useRef, useState } from 'preact/hooks'
import { keep, load, local } from '../identity.ts'
import { t } from '../strings.ts'

const KEY = 'corun.split'
const LEAST = 25
const MOST = 75
const STEP = 2

const bounded = (percent: number): number => Math.min(MOST, Math.max(LEAST, percent))

/** The bar between editor and terminal: dragged, or moved by the arrow keys. */
export function Splitter() {
  const [percent, setPercent] = useState(() => bounded(Number(load<number>(local, KEY) ?? 56) || 56))
  const bar = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const panes = bar.current?.closest<HTMLElement>('.panes')?.style
    panes?.setProperty('--code', `${percent}fr`)
    panes?.setProperty('--output', `${100 - percent}fr`)
    keep(local, KEY, percent)
  }, [percent])
  const drag = (event: PointerEvent): void => {
    if (bar.current?.hasPointerCapture(event.pointerId) !== true) return
    const left = document.querySelector('.editor-pane')?.getBoundingClientRect().left ?? 0
    const right = document.querySelector('.run-pane')?.getBoundingClientRect().right ?? innerWidth
    setPercent(Math.round(bounded(((event.clientX - left) / (right - left)) * 100)))
  }
  const key = (event: KeyboardEvent): void => {
    const step = event.key === 'ArrowLeft' ? -STEP : event.key === 'ArrowRight' ? STEP : 0
    if (step === 0) return
    event.preventDefault()
    setPercent(bounded(percent + step))
  }
  return (
    <div
      class="splitter" role="separator" aria-orientation="vertical" aria-label={t.resizePanes} tabIndex={0} ref={bar}
      aria-valuenow={percent} aria-valuemin={LEAST} aria-valuemax={MOST} onKeyDown={key}
      onPointerDown={(e) => { e.preventDefault(); bar.current?.setPointerCapture(e.pointerId) }} onPointerMove={drag}
    />
  )
}
