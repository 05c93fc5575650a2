import { useEffect, useRef, useState } from 'preact/hooks'
import { t } from '../strings.ts'

export interface PathFormProps {
  /** What stands in the field at first. */
  path: string
  label: string
  /** Takes the path, or says why not. */
  onDone(path: string): string | null
  onCancel(): void
}

export function PathForm({ path, label, onDone, onCancel }: PathFormProps) {
  const [text, setText] = useState(path)
  const [problem, setProblem] = useState('')
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    input.current?.focus()
    // As in file managers: the name without its folder and its ending is what mostly changes.
    const name = path.lastIndexOf('/') + 1
    const dot = path.lastIndexOf('.')
    input.current?.setSelectionRange(name, dot > name ? dot : path.length)
  }, [])
  const submit = (event: Event): void => {
    event.preventDefault()
    setProblem(onDone(text.trim()) ?? '')
  }
  return (
    <form class="path-form" onSubmit={submit}>
      <input
        aria-label={label} placeholder={t.paths.example} value={text} spellcheck={false} autocomplete="off" data-testid="path-input"
        aria-invalid={problem !== ''} aria-describedby="path-problem" ref={input}
        onInput={(e) => { setText(e.currentTarget.value); setProblem('') }}
        onKeyDown={(e) => { if (e.key === 'Escape') { e.stopPropagation(); onCancel() } }}
        onBlur={() => { if (text.trim() === path) onCancel() }}
      />
      <p class="problem" id="path-problem" role="alert">{problem}</p>
    </form>
  )
}
