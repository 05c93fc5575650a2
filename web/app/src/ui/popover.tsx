// A small panel that a button opens. Escape and a click elsewhere close it; the
// focus goes back to the button.
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'

export interface PopoverProps {
  label: string
  class?: string
  /** The button's face. */
  face: ComponentChildren
  children: (close: () => void) => ComponentChildren
  testid?: string
  align?: 'left' | 'right'
}

export function Popover({ label, face, children, class: kind = 'quiet', testid, align = 'right' }: PopoverProps) {
  const [open, setOpen] = useState(false)
  const id = useId()
  const root = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)
  const close = (): void => {
    setOpen(false)
    button.current?.focus()
  }
  useEffect(() => {
    if (!open) return
    root.current?.querySelector<HTMLElement>('.popover input, .popover button, .popover [tabindex]')?.focus()
    const outside = (event: Event): void => {
      if (event.target instanceof Node && root.current?.contains(event.target) !== true) setOpen(false)
    }
    addEventListener('pointerdown', outside)
    addEventListener('focusin', outside)
    return () => {
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
        data-testid={testid} onClick={() => setOpen(!open)}
      >
        {face}
      </button>
      {open && <div class={`popover ${align}`} id={id} role="dialog" aria-label={label}>{children(close)}</div>}
    </div>
  )
}
