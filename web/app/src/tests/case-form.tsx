import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { Language } from '../live/messages.ts'
import type { Match } from '../live/tests.ts'
import { Arguments } from '../runs/arguments.tsx'
import { languageName } from '../start/language-picker.tsx'
import { t } from '../strings.ts'
import type { Draft, DraftProblem } from './draft.ts'

const matches: Match[] = ['trimmed', 'exact', 'numeric', 'regex', 'checker']

interface CaseFormProps {
  draft: Draft
  problem: DraftProblem | null
  languages: readonly Language[]
  onChange(next: Draft): void
}

export function CaseForm({ draft, problem, languages, onChange }: CaseFormProps) {
  const root = useRef<HTMLDivElement>(null)
  const set = (part: Partial<Draft>): void => onChange({ ...draft, ...part })
  useEffect(() => {
    if (problem !== null) root.current?.querySelector<HTMLElement>(`[name="${problem.field}"]`)?.focus()
  }, [problem])
  /** What a field has to say: its name, its text, and what is wrong with it. */
  const field = (name: keyof Draft & string) => ({
    name, 'aria-invalid': problem?.field === name, 'aria-describedby': problem?.field === name ? 'case-problem' : undefined, 'data-testid': `case-${name}`,
    onInput: (e: { currentTarget: HTMLInputElement | HTMLTextAreaElement }) => set({ [name]: e.currentTarget.value }),
  })
  return (
    <div ref={root} class="case-fields">
      <p class="problem" id="case-problem" role="alert">{problem?.words ?? ''}</p>
      <div class="case-pair">
        <Field label={t.tests.name}><input type="text" value={draft.name} autocomplete="off" {...field('name')} /></Field>
        <Field label={t.tests.points} narrow><input type="text" inputMode="decimal" value={draft.points} {...field('points')} /></Field>
      </div>
      <label class="check">
        <input type="checkbox" checked={draft.hidden} data-testid="case-hidden" onChange={(e) => set({ hidden: e.currentTarget.checked })} />
        {t.tests.hiddenHint}
      </label>
      <Field label={t.tests.stdin}><textarea rows={3} spellcheck={false} value={draft.stdin} {...field('stdin')} /></Field>
      <Arguments text={draft.args} name="args" testid="case-args" onChange={(args) => set({ args })} />
      <Field label={t.tests.match}>
        <select value={draft.match} data-testid="case-match" onChange={(e) => set({ match: e.currentTarget.value as Match })}>
          {matches.map((match) => <option key={match} value={match}>{t.tests.matches[match]}</option>)}
        </select>
      </Field>
      {draft.match === 'numeric' && <Field label={t.tests.tolerance} narrow><input type="text" inputMode="decimal" value={draft.tolerance} {...field('tolerance')} /></Field>}
      {draft.match !== 'checker' && (
        <Field label={draft.match === 'regex' ? t.tests.pattern : t.tests.expected}><textarea rows={4} spellcheck={false} value={draft.expected} {...field('expected')} /></Field>
      )}
      {draft.match === 'checker' && (
        <>
          <p class="soft"><small>{t.tests.checkerHint}</small></p>
          <Field label={t.tests.checkerLanguage} narrow>
            <select value={draft.checkerLanguage} data-testid="case-checkerLanguage" onChange={(e) => set({ checkerLanguage: e.currentTarget.value })}>
              {!languages.some((l) => l.name === draft.checkerLanguage) && <option value={draft.checkerLanguage}>{draft.checkerLanguage}</option>}
              {languages.map((l) => <option key={l.name} value={l.name}>{languageName(l.name)}</option>)}
            </select>
          </Field>
          {draft.checkerFiles === undefined
            ? <Field label={t.tests.checker}><textarea rows={7} spellcheck={false} value={draft.checkerSource} {...field('checkerSource')} /></Field>
            : <p class="soft">{t.tests.checkerFiles(draft.checkerFiles.length)}</p>}
        </>
      )}
      <fieldset class="case-limits">
        <legend>{t.tests.limits}</legend>
        <Field label={t.tests.wall}><input type="text" inputMode="decimal" value={draft.wall} {...field('wall')} /></Field>
        <Field label={t.tests.cpu}><input type="text" inputMode="decimal" value={draft.cpu} {...field('cpu')} /></Field>
        <Field label={t.tests.memory}><input type="text" inputMode="decimal" value={draft.memory} {...field('memory')} /></Field>
      </fieldset>
    </div>
  )
}

function Field({ label, narrow = false, children }: { label: string; narrow?: boolean; children: ComponentChildren }) {
  return <label class={narrow ? 'case-field narrow' : 'case-field'}><span>{label}</span>{children}</label>
}
