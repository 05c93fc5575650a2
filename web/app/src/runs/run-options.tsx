import type { RoomSession } from '../room/session.ts'
import { bytes, t } from '../strings.ts'
import { ChevronIcon } from '../ui/icons.tsx'
import { Popover } from '../ui/popover.tsx'
import { Arguments } from './arguments.tsx'
import { defaultOptions, splitArgs, type RunOptions } from './options.ts'

export function RunOptionsButton({ session }: { session: RoomSession }) {
  const options = session.runOptions.value
  const set = inWords(options)
  const label = set === '' ? t.runs.options : t.runs.optionsSet(set)
  return (
    <Popover
      label={label} class={set === '' ? 'secondary square run-options' : 'secondary square run-options set'} testid="run-options"
      face={<ChevronIcon />}
    >
      {() => <Panel session={session} />}
    </Popover>
  )
}

/** What is other than usual, or ''. */
function inWords(options: RunOptions): string {
  const split = splitArgs(options.args)
  const count = 'args' in split ? split.args.length : 1
  return [
    options.entry,
    count === 0 ? '' : t.runs.argsSplit(count).replace(/:$/, ''),
    options.mode === 'pipes' ? t.runs.pipes : '',
  ].filter(Boolean).join(', ')
}

function Panel({ session }: { session: RoomSession }) {
  const options = session.runOptions.value
  const set = (change: Partial<RunOptions>): void => session.setRunOptions(change)
  return (
    <div class="run-options-panel">
      <Entry session={session} />
      <Arguments text={options.args} testid="run-args" onChange={(args) => set({ args })} />
      <fieldset>
        <legend>{t.runs.mode}</legend>
        <Mode mode="terminal" label={t.runs.terminal} hint={t.runs.terminalHint} options={options} onChange={set} />
        <Mode mode="pipes" label={t.runs.pipes} hint={t.runs.pipesHint} options={options} onChange={set} />
      </fieldset>
      {options.mode === 'pipes' && (
        <label class="field">
          <span>{t.runs.stdin} <small>{t.runs.stdinSize(bytes(new TextEncoder().encode(options.stdin).length))}</small></span>
          <textarea
            rows={5} spellcheck={false} data-testid="run-stdin" value={options.stdin} onInput={(e) => set({ stdin: e.currentTarget.value })}
          />
        </label>
      )}
      <p class="run-options-foot">
        <small>{t.runs.onlyHere}</small>
        <button type="button" class="secondary small" data-testid="run-options-reset" onClick={() => set(defaultOptions)}>{t.runs.reset}</button>
      </p>
    </div>
  )
}

function Entry({ session }: { session: RoomSession }) {
  const chosen = session.runOptions.value.entry
  const all = session.doc.files.value
  const ofRoom = all.find((f) => f.id === session.doc.meta.value.entry)?.path ?? (all.length === 1 ? all[0]?.path : undefined) ?? ''
  const gone = chosen !== '' && !all.some((f) => f.path === chosen)
  return (
    <label class="field">
      <span>{t.runs.entry}</span>
      <select value={chosen} data-testid="run-entry" onChange={(e) => session.setRunOptions({ entry: e.currentTarget.value })}>
        <option value="">{t.runs.entryOfRoom(ofRoom)}</option>
        {gone && <option value={chosen}>{chosen}</option>}
        {all.map((f) => <option key={f.id} value={f.path}>{f.path}</option>)}
      </select>
      {gone && <small class="problem">{t.runs.entryGone(chosen)}</small>}
    </label>
  )
}

interface ModeProps {
  mode: RunOptions['mode']
  label: string
  hint: string
  options: RunOptions
  onChange(change: Partial<RunOptions>): void
}

function Mode({ mode, label, hint, options, onChange }: ModeProps) {
  return (
    <label class="choice">
      <input type="radio" name="run-mode" checked={options.mode === mode} data-testid={`run-mode-${mode}`} onChange={() => onChange({ mode })} />
      <span>{label} <small>{hint}</small></span>
    </label>
  )
}
