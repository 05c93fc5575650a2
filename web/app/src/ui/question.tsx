// A question before what cannot be taken back. Escape and Cancel are a no, and the
// focus goes back to where it was.
import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { t } from '../strings.ts'

interface Asked {
  words: string
  /** What a yes does, on its button. */
  action: string
  answer(yes: boolean): void
}

const asked = signal<Asked | null>(null)

/** Resolves to whether the answer was yes. */
export function ask(words: string, action: string): Promise<boolean> {
  asked.value?.answer(false)
  return new Promise((resolve) => {
    const mine: Asked = {
      words, action,
      answer(yes) {
        if (asked.value === mine) asked.value = null
        resolve(yes)
      },
    }
    asked.value = mine
  })
}

/** Where questions appear: once a page. */
export function Questions() {
  const now = asked.value
  return now === null ? null : <Question key={now.words} asked={now} />
}

function Question({ asked: { words, action, answer } }: { asked: Asked }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const yes = useRef(false)
  useEffect(() => dialog.current?.showModal(), [])
  const end = (said: boolean): void => {
    yes.current = said
    dialog.current?.close() // which gives the focus back
  }
  return (
    <dialog class="question" role="alertdialog" ref={dialog} aria-labelledby="question" data-testid="question" onClose={() => answer(yes.current)} onKeyDown={(e) => e.stopPropagation()}>
      <p id="question">{words}</p>
      <p class="dialog-actions">
        <button type="button" class="secondary" autofocus data-testid="question-no" onClick={() => end(false)}>{t.cancel}</button>
        <button type="button" class="primary danger" data-testid="question-yes" onClick={() => end(true)}>{action}</button>
      </p>
    </dialog>
  )
}
