// A small panel that a button opens. Escape and a click elsewhere close it; the
// focus goes back to the button. It is placed against the window, so that no
// pane that scrolls cuts it off.
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks'

export interface PopoverProps {
  label: string
  class?: string
  /** The button's face. */
  face: ComponentChildren
  children: (close: () => void) => ComponentChildren
  testid?: string
  /** -1 where another key than Tab leads to the button. */
  tabIndex?: number
}

const GAP = 6
const MARGIN = 8

/** Places a panel under its button, or above where there is more room. */
function place(panel: HTMLElement, button: HTMLElement): void {
  const at = button.getBoundingClientRect()
  const { offsetWidth: width, offsetHeight: height } = panel
  const below = at.bottom + GAP
  const left = at.left + width + MARGIN > innerWidth ? at.right - width : at.left
  panel.style.left = `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`
  panel.style.top = `${below + height + MARGIN > innerHeight && at.top > height + GAP ? at.top - GAP - height : below}px`
}

export function Popover({ label, face, children, class: kind = 'quiet', testid, tabIndex = 0 }: PopoverProps) {
  const [open, setOpen] = useState(false)
  const id = useId()
  const root = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)
  const close = (): void => {
    setOpen(false)
    button.current?.focus()
  }
  useLayoutEffect(() => {
    const panel = root.current?.querySelector<HTMLElement>('.popover')
    if (open && panel != null && button.current !== null) place(panel, button.current)
  }, [open])
  useEffect(() => {
    if (!open) return
    root.current?.querySelector<HTMLElement>('.popover input, .popover button, .popover [tabindex]')?.focus()
    const outside = (event: Event): void => {
      // A question that something in here asks is no place elsewhere: the focus comes back.
      const { target } = event
      if (target instanceof Element && target.closest('.question') === null && root.current?.contains(target) !== true) setOpen(false)
    }
    const shut = (): void => setOpen(false)
    addEventListener('pointerdown', outside)
    addEventListener('focusin', outside)
    addEventListener('resize', shut)
    return () => {
      removeEventListener('resize', shut)
      removeEventListener('pointerdown', outside)
      removeEventListener('focusin', outside)
    }
  }, [open])
  const onKeyDown = (event: KeyboardEvent): void => {
    if (open && event.key === 'Escape') {
      event.stopPropagation()
      close()
    }
  }
  return (
    <div class="popover-root" ref={root} onKeyDown={onKeyDown}>
      <button
        type="button" class={kind} ref={button} aria-label={label} title={label} aria-expanded={open} aria-controls={id}
        data-testid={testid} tabIndex={tabIndex} onClick={() => setOpen(!open)}
      >
        {face}
      </button>
      {open && <div class="popover" id={id} role="dialog" aria-label={label}>{children(close)}</div>}
    </div>
  )
}
