import { useEffect, useRef, useState } from 'preact/hooks'
import type { Artefact, Run } from '../live/messages.ts'
import { bytes, t } from '../strings.ts'
import type { RoomSession } from './session.ts'

const IMAGE = /\.(png|jpe?g|gif|webp|svg)$/i

/**
 * The files that the last run left: images to look at, others to keep. They stay while
 * the next run goes on, so that the terminal has one size from its start to its end and
 * a plot that is drawn again changes in its place.
 */
export function Artefacts({ session }: { session: RoomSession }) {
  const { left } = session.state.value
  if (left === null) return null
  const isImage = (file: Artefact): boolean => IMAGE.test(file.path)
  const files = left.artefacts ?? []
  const sorted = [...files.filter(isImage), ...files.filter((f) => !isImage(f))]
  return (
    <section class="artefacts" aria-label={t.artefacts} data-testid="artefacts" data-run={left.number} data-old={session.active.value}>
      <ul>{sorted.map((file) => <Item key={file.path} session={session} run={left} file={file} />)}</ul>
    </section>
  )
}

interface ItemProps {
  session: RoomSession
  run: Run
  file: Artefact
}

function Item({ session, run, file }: ItemProps) {
  const [failed, setFailed] = useState(false)
  const [large, setLarge] = useState(false)
  const image = IMAGE.test(file.path)
  const url = useImage(session, run.number, image ? file.path : null, setFailed)
  if (image && !failed) {
    return (
      <li>
        <button type="button" class="artefact-image" disabled={url === ''} title={t.showLarge(file.path)} onClick={() => setLarge(true)}>
          {url !== '' && <img src={url} alt={file.path} onError={() => setFailed(true)} />}
        </button>
        {large && <Large path={file.path} url={url} onClose={() => setLarge(false)} />}
      </li>
    )
  }
  const save = (): void => {
    session.artefact(run.number, file.path).then((blob) => {
      const link = document.createElement('a')
      link.href = URL.createObjectURL(blob)
      link.download = baseName(file.path)
      link.click()
      URL.revokeObjectURL(link.href)
    }).catch(() => setFailed(true))
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

/**
 * A URL for an image of a run, '' until it is there. That of the run before holds until
 * then. The token goes in a header, so the bytes are fetched and shown from here.
 */
function useImage(session: RoomSession, run: number, path: string | null, setFailed: (failed: boolean) => void): string {
  const [url, setURL] = useState('')
  useEffect(() => {
    if (path === null) return
    const gone = new AbortController()
    session.artefact(run, path, gone.signal).then((blob) => {
      if (gone.signal.aborted) return
      setURL(URL.createObjectURL(blob))
      setFailed(false)
    }).catch(() => { if (!gone.signal.aborted) setFailed(true) })
    return () => gone.abort()
  }, [run, path])
  useEffect(() => () => { if (url !== '') URL.revokeObjectURL(url) }, [url])
  return url
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

function Large({ path, url, onClose }: { path: string; url: string; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog class="artefact-large" ref={dialog} aria-label={path} onClose={onClose} onClick={() => dialog.current?.close()}>
      <img src={url} alt={path} />
      <p>
        <span class="artefact-name">{path}</span>
        <a class="secondary" href={url} download={baseName(path)} onClick={(e) => e.stopPropagation()}>{t.save}</a>
        <button type="button" class="secondary" autofocus>{t.close}</button>
      </p>
    </dialog>
  )
}
