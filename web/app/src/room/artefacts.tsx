import { useEffect, useRef, useState } from 'preact/hooks'
import type { Artefact, Run } from '../live/messages.ts'
import { bytes, t } from '../strings.ts'
import type { RoomSession } from './session.ts'

const IMAGE = /\.(png|jpe?g|gif|webp|svg)$/i

/** The files that the last run left: images to look at, others to keep. */
export function Artefacts({ session }: { session: RoomSession }) {
  const { run } = session.state.value
  const [large, setLarge] = useState<Shown | null>(null)
  if (run === null || run.state !== 'finished' || !run.artefacts?.length) return null
  return (
    <section class="artefacts" aria-label={t.artefacts} data-testid="artefacts">
      <ul>
        {run.artefacts.map((a) => <Item key={`${run.number} ${a.path}`} session={session} run={run} file={a} onLarge={setLarge} />)}
      </ul>
      {large !== null && <Large shown={large} onClose={() => setLarge(null)} />}
    </section>
  )
}

interface Shown {
  path: string
  url: string
}

interface ItemProps {
  session: RoomSession
  run: Run
  file: Artefact
  onLarge(shown: Shown): void
}

function Item({ session, run, file, onLarge }: ItemProps) {
  const image = IMAGE.test(file.path)
  const [url, setURL] = useState('')
  const [failed, setFailed] = useState(false)
  // The token goes in a header, so the bytes are fetched and shown from here.
  useEffect(() => {
    if (!image) return
    const gone = new AbortController()
    let made = ''
    session.artefact(run.number, file.path, gone.signal).then((blob) => {
      made = URL.createObjectURL(blob)
      setURL(made)
    }).catch(() => { if (!gone.signal.aborted) setFailed(true) })
    return () => {
      gone.abort()
      if (made !== '') URL.revokeObjectURL(made)
    }
  }, [image, run.number, file.path])
  const save = (): void => {
    session.artefact(run.number, file.path).then((blob) => {
      const link = document.createElement('a')
      link.href = URL.createObjectURL(blob)
      link.download = file.path.split('/').pop() ?? file.path
      link.click()
      URL.revokeObjectURL(link.href)
    }).catch(() => setFailed(true))
  }
  if (image && !failed) {
    return (
      <li>
        <button type="button" class="artefact-image" disabled={url === ''} title={t.showLarge(file.path)} onClick={() => onLarge({ path: file.path, url })}>
          {url !== '' && <img src={url} alt={file.path} onError={() => setFailed(true)} />}
        </button>
      </li>
    )
  }
  return (
    <li>
      <button type="button" class="artefact-file" title={t.saveFile(file.path)} onClick={save}>
        <span class="artefact-name">{file.path}</span>
        <small>{failed ? t.artefactFailed : bytes(file.size)}</small>
      </button>
    </li>
  )
}

function Large({ shown, onClose }: { shown: Shown; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog class="artefact-large" ref={dialog} aria-label={shown.path} onClose={onClose} onClick={() => dialog.current?.close()}>
      <img src={shown.url} alt={shown.path} />
      <p>
        <span class="artefact-name">{shown.path}</span>
        <a class="secondary" href={shown.url} download={shown.path.split('/').pop()} onClick={(e) => e.stopPropagation()}>{t.save}</a>
        <button type="button" class="secondary">{t.close}</button>
      </p>
    </dialog>
  )
}
