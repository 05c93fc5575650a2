import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { bytesLeft, COUNT_FROM_BYTES, MAX_LINKS, type ChatLink, type ChatMessage } from '../live/chat.ts'
import type { RoomSession } from '../room/session.ts'
import { Avatar } from '../room/people.tsx'
import { t, timeOfDay } from '../strings.ts'
import { ask } from '../ui/question.tsx'
import { CloseIcon, LinkIcon, SendIcon } from '../ui/room-icons.tsx'
import { follow, linkOfLine, linkWords } from './chat-links.ts'

export function ChatPanel({ session }: { session: RoomSession }) {
  const messages = session.chat.messages.value
  useEffect(() => session.chat.read(), [messages])
  return (
    <>
      {/* The list scrolls, so it can be focused for the keyboard. */}
      <Messages session={session} messages={messages} />
      {session.state.value.you?.role === 'viewer'
        ? <p class="chat-viewer soft">{t.chat.viewer}</p>
        : <Composer session={session} />}
    </>
  )
}

/** Within so many pixels of its end a list is taken for being at its end. */
const NEAR_END_PX = 40

function Messages({ session, messages }: { session: RoomSession; messages: readonly ChatMessage[] }) {
  const list = useRef<HTMLOListElement>(null)
  const atEnd = useRef(true)
  useLayoutEffect(() => {
    const el = list.current
    if (el !== null && atEnd.current) el.scrollTop = el.scrollHeight
  }, [messages])
  return (
    <ol
      class="chat-list" ref={list} tabIndex={0} aria-label={t.chat.messages} data-testid="chat-messages"
      onScroll={(e) => { const el = e.currentTarget; atEnd.current = el.scrollHeight - el.scrollTop - el.clientHeight < NEAR_END_PX }}
    >
      {messages.length === 0 && <li class="pane-message">{t.chat.empty}</li>}
      {messages.map((message) => <Message key={message.id} session={session} message={message} />)}
    </ol>
  )
}

function Message({ session, message }: { session: RoomSession; message: ChatMessage }) {
  const mine = message.by.id === session.state.value.you?.id
  const remove = async (): Promise<void> => { if (await ask(t.chat.removeConfirm(message.by.name), t.remove)) session.chat.remove(message.id) }
  return (
    <li class="chat-message" data-testid="chat-message">
      <p class="chat-by">
        <Avatar person={message.by} />
        <b>{message.by.name}</b>{mine && <small>({t.you})</small>}
        <time dateTime={message.at}><small>{timeOfDay(new Date(message.at))}</small></time>
        {session.isHost.value && (
          <button type="button" class="quiet square chat-remove" aria-label={t.chat.remove(message.by.name)} title={t.chat.remove(message.by.name)} data-testid="chat-remove" onClick={() => void remove()}>
            <CloseIcon />
          </button>
        )}
      </p>
      <p class="chat-text">{message.text}</p>
      {message.links.length > 0 && (
        <ul class="chat-links">
          {message.links.map((link, i) => (
            <li key={i}><Link session={session} link={link} /></li>
          ))}
        </ul>
      )}
    </li>
  )
}

/** Its words say where the line is now. */
function Link({ session, link }: { session: RoomSession; link: ChatLink }) {
  const [words, setWords] = useState('')
  const { doc } = session.doc
  useEffect(() => {
    const look = (): void => setWords(linkWords(session, link))
    look()
    if (link.file === undefined) return
    doc.on('update', look)
    return () => doc.off('update', look)
  }, [doc, link])
  return <button type="button" class="chip" data-testid="chat-link" onClick={() => follow(session, link)}><LinkIcon />{words}</button>
}

function Composer({ session }: { session: RoomSession }) {
  const { chat } = session
  const text = chat.draft.value
  const left = bytesLeft(text)
  const links = chat.links.value
  const run = session.state.value.run
  const full = links.length >= MAX_LINKS
  const add = (link: ChatLink | null): void => { if (link !== null) chat.link(link) }
  const submit = (event: Event): void => {
    event.preventDefault()
    chat.send()
  }
  const onKey = (event: KeyboardEvent): void => {
    // Enter that ends a composition chooses a character and sends nothing.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && !event.ctrlKey && !event.metaKey) submit(event)
  }
  return (
    <form class="composer" onSubmit={submit}>
      {links.length > 0 && (
        <ul class="chat-links">
          {links.map((link) => (
            <li key={`${link.run}/${link.file}/${link.line}`}>
              <button type="button" class="chip" aria-label={t.chat.unlink(linkWords(session, link))} onClick={() => chat.unlink(link)}>{linkWords(session, link)}<CloseIcon /></button>
            </li>
          ))}
        </ul>
      )}
      <textarea
        rows={3} value={text} aria-label={t.chat.write} placeholder={t.chat.hint} data-testid="chat-input" data-first
        aria-describedby="chat-left chat-problem" aria-invalid={left < 0} readOnly={chat.sending.value}
        onInput={(e) => { chat.draft.value = e.currentTarget.value; chat.problem.value = '' }} onKeyDown={onKey}
      />
      <div class="composer-row">
        <button type="button" class="quiet small" disabled={full} data-testid="chat-link-line" onClick={() => add(linkOfLine(session))}><LinkIcon />{t.chat.linkLine}</button>
        {run !== null && (
          <button type="button" class="quiet small" disabled={full} data-testid="chat-link-run" onClick={() => add({ run: run.number })}><LinkIcon />{t.chat.linkRun(run.number)}</button>
        )}
        <span class="spacer" />
        <button class="primary small" aria-label={t.chat.send} title={t.chat.send} data-testid="chat-send" disabled={text.trim() === '' || left < 0 || chat.sending.value}><SendIcon /></button>
      </div>
      <p class="composer-notes">
        <span id="chat-left" data-testid="chat-left" class={left < 0 ? 'problem' : 'soft'} aria-live="polite">{left < 0 ? t.chat.over(-left) : left <= COUNT_FROM_BYTES ? t.chat.left(left) : ''}</span>
        <span id="chat-problem" class="problem" role="alert">{chat.problem.value}</span>
      </p>
    </form>
  )
}
