// A host edits the tests: the cases in a list, one of them in a form. Nothing is
// saved before Save, which replaces all of them.
import { useEffect, useRef, useState } from 'preact/hooks'
import { isWhole } from '../live/tests.ts'
import type { RoomSession } from '../room/session.ts'
import { t } from '../strings.ts'
import { PlusIcon } from '../ui/icons.tsx'
import { ask } from '../ui/question.tsx'
import { CaseForm } from './case-form.tsx'
import { caseOf, draftOf, emptyDraft, problemOf, type Draft, type DraftProblem } from './draft.ts'

export function TestsEditor({ session, onClose }: { session: RoomSession; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const language = session.doc.meta.value.language || session.state.value.room?.language || ''
  const [drafts, setDrafts] = useState<Draft[]>(() => {
    const there = session.tests.cases.value.filter(isWhole).map((c) => draftOf(c, language))
    return there.length > 0 ? there : [emptyDraft(t.tests.newName(1), language)]
  })
  const [chosen, setChosen] = useState(drafts[0]?.key ?? '')
  const [changed, setChanged] = useState(false)
  const [saving, setSaving] = useState(false)
  const [problem, setProblem] = useState<DraftProblem | null>(null)
  const [refusal, setRefusal] = useState('')
  useEffect(() => dialog.current?.showModal(), [])

  const at = drafts.findIndex((d) => d.key === chosen)
  const draft = drafts[at]
  const edit = (next: Draft[]): void => {
    setDrafts(next)
    setChanged(true)
    setProblem(null)
    setRefusal('')
  }
  const add = (): void => {
    const made = emptyDraft(t.tests.newName(drafts.length + 1), language)
    edit([...drafts, made])
    setChosen(made.key)
  }
  const remove = (): void => {
    const rest = drafts.filter((_, i) => i !== at)
    edit(rest)
    setChosen(rest[Math.min(at, rest.length - 1)]?.key ?? '')
  }
  const move = (step: 1 | -1): void => {
    const other = drafts[at + step]
    if (draft === undefined || other === undefined) return
    edit(drafts.map((d, i) => (i === at ? other : i === at + step ? draft : d)))
  }
  const cancel = async (event: Event): Promise<void> => {
    event.preventDefault()
    if (!changed || await ask(t.tests.discard, t.tests.discardYes)) dialog.current?.close()
  }
  const save = async (event: Event): Promise<void> => {
    event.preventDefault()
    for (const d of drafts) {
      const wrong = problemOf(d)
      if (wrong === null) continue
      setChosen(d.key)
      setProblem(wrong)
      return
    }
    setSaving(true)
    try {
      await session.saveTests(drafts.map(caseOf))
      dialog.current?.close()
    } catch (err) {
      setRefusal(err instanceof Error ? err.message : String(err))
    } finally {
      setSaving(false)
    }
  }

  return (
    <dialog class="panel-dialog tests-editor" ref={dialog} aria-labelledby="tests-editor-title" data-testid="tests-editor" onClose={onClose} onCancel={(e) => void cancel(e)} onKeyDown={(e) => e.stopPropagation()}>
      <h2 id="tests-editor-title">{t.tests.editTitle}</h2>
      <form class="tests-form" onSubmit={(e) => void save(e)} noValidate>
        <div class="tests-cases">
          <ul aria-label={t.tests.cases}>
            {drafts.map((d) => (
              <li key={d.key}>
                <button type="button" class="case-choice" aria-current={d.key === chosen ? 'true' : undefined} onClick={() => setChosen(d.key)}>
                  <span>{d.name.trim() || t.tests.unnamed}</span>{d.hidden && <small>{t.tests.hidden}</small>}
                </button>
              </li>
            ))}
          </ul>
          <button type="button" class="secondary small" data-testid="add-test" onClick={add}><PlusIcon />{t.tests.add}</button>
        </div>
        {draft === undefined ? <p class="soft case-form">{t.tests.noneHost}</p> : (
          <div class="case-form">
            <CaseForm
              key={draft.key} draft={draft} problem={problem} languages={session.state.value.languages}
              onChange={(next) => edit(drafts.map((d) => (d.key === next.key ? next : d)))}
            />
            <p class="case-actions">
              <button type="button" class="quiet small" disabled={at === 0} onClick={() => move(-1)}>{t.tests.up}</button>
              <button type="button" class="quiet small" disabled={at === drafts.length - 1} onClick={() => move(1)}>{t.tests.down}</button>
              <button type="button" class="quiet small danger" data-testid="delete-test" onClick={remove}>{t.tests.remove}</button>
            </p>
          </div>
        )}
        <div class="dialog-actions">
          <p class="problem" role="alert" data-testid="tests-refusal">{refusal}</p>
          <button type="button" class="secondary" onClick={(e) => void cancel(e)}>{t.cancel}</button>
          <button class="primary" data-testid="save-tests" disabled={saving}>{saving ? t.tests.saving : t.tests.save}</button>
        </div>
      </form>
    </dialog>
  )
}
