// Arguments as they are written in a shell, and how they split.
import { useId } from 'preact/hooks'
import { t } from '../strings.ts'
import { splitArgs } from './options.ts'

interface ArgumentsProps {
  text: string
  testid: string
  name?: string
  onChange(text: string): void
}

export function Arguments({ text, testid, name, onChange }: ArgumentsProps) {
  const id = useId()
  const split = splitArgs(text)
  return (
    <div class="field args">
      <label for={id}>{t.runs.args}</label>
      {/* Not an input, which would lose line breaks. */}
      <textarea
        id={id} name={name} value={text} rows={Math.min(4, text.split('\n').length)} spellcheck={false} autocomplete="off" placeholder={t.runs.argsPlaceholder} data-testid={testid}
        aria-describedby={`${id}-split`} aria-invalid={'unclosed' in split} title={t.runs.argsHint} onInput={(e) => onChange(e.currentTarget.value)}
      />
      <div class="args-split" id={`${id}-split`} data-testid={`${testid}-split`}>
        {'unclosed' in split
          ? <span class="problem">{t.runs.unclosed[split.unclosed]}</span>
          : split.args.length === 0
            ? <small>{t.runs.argsNone}</small>
            : <><small>{t.runs.argsSplit(split.args.length)}</small> {split.args.map((arg, at) => <code key={at}>{arg === '' ? <i>{t.runs.emptyArg}</i> : arg}</code>)}</>}
      </div>
    </div>
  )
}
