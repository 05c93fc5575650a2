// The editors that people bind to Yjs, unchanged, with stock providers of all versions:
// what is typed in one is in the other, and a third that joins later has it.
import { loadMonaco, window } from './browser.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { EditorState } from '@codemirror/state'
import { EditorView } from '@codemirror/view'
import { DOMSerializer } from 'prosemirror-model'
import { schema } from 'prosemirror-schema-basic'
import { EditorState as ProseState } from 'prosemirror-state'
import { EditorView as ProseView } from 'prosemirror-view'
import { yCollab } from 'y-codemirror.next'
import { prosemirrorToYDoc, redo, undo, yCursorPlugin, ySyncPlugin, yUndoPlugin, yXmlFragmentToProseMirrorRootNode } from 'y-prosemirror'
import * as Y from 'yjs'
import { Random } from '../fuzz/random.mjs'
import { docUntil, sameState, stateOf, syncClient, within } from './clients.mjs'
import { startServer } from './server.mjs'

const seed = Number(process.env.SEED ?? Date.now() % 1e9)
const words = ['let x = 1\n', 'ä', '🙂', 'hello ', '\n', '漢字', '(', '\t']

/** A place in a text that is not within a pair of surrogates, where no editor puts a cursor. */
const whole = (text, at) => (/^[\ud800-\udbff][\udc00-\udfff]/.test(text.slice(Math.max(at - 1, 0), at + 1)) ? at - 1 : at)

let server
before(async () => { server = await startServer({ args: ['--open-rooms'] }) })
after(async () => { await server?.stop() })

/** Three clients of a room, each with its own version of the provider and an editor. */
async function withEditors(room, open, use) {
  const clients = ['1', '2', '3'].map((version) => ({ name: `provider ${version}`, ...syncClient(server, room, undefined, { version }) }))
  try {
    await Promise.all(clients.map((c) => c.synced()))
    for (const c of clients) c.editor = open(c)
    const docs = clients.map((c) => c.doc)
    await use(clients, (what) => docUntil(docs, () => docs.every((doc) => sameState(doc, docs[0])), `${what} (seed ${seed})`))
    const late = syncClient(server, room)
    clients.push(late)
    await late.synced()
    for (const c of clients) assert.equal(stateOf(c.doc), stateOf(docs[0]), `seed ${seed}`)
    late.editor = open(late)
    return late
  } finally {
    for (const c of clients) { c.editor?.destroy?.(); c.close() }
  }
}

test('CodeMirror', async () => {
  const texts = []
  const open = (c) => new EditorView({
    parent: window.document.body,
    state: EditorState.create({ doc: c.text.toString(), extensions: [yCollab(c.text, c.provider.awareness)] }),
  })
  const late = await withEditors('codemirror', open, async (clients, agreed) => {
    const r = new Random(seed)
    for (let i = 0; i < 200; i++) {
      const { editor } = r.pick(clients)
      const text = editor.state.doc.toString()
      const from = whole(text, r.below(text.length + 1))
      const to = r.chance(0.3) ? Math.max(whole(text, Math.min(from + r.below(6), text.length)), from) : from
      editor.dispatch({ changes: { from, to, insert: r.chance(0.2) ? '' : r.pick(words) }, selection: { anchor: from } })
      if (r.chance(0.2)) await new Promise((resolve) => setImmediate(resolve))
    }
    await agreed('all that was typed')
    for (const c of clients) texts.push(c.editor.state.doc.toString(), c.text.toString())
    // A cursor is drawn where the other has it.
    const [a, b] = clients
    a.provider.awareness.setLocalStateField('user', { name: 'Ada', color: '#abcdef', colorLight: '#abcdef33' })
    a.editor.focus()
    a.editor.dispatch({ selection: { anchor: 0, head: Math.min(3, a.editor.state.doc.length) } })
    await b.aware((states) => states.get(a.doc.clientID)?.cursor?.head, 'the cursor')
    b.editor.dispatch({}) // draws
    assert.match(b.editor.dom.querySelector('.cm-ySelectionInfo')?.textContent ?? '', /Ada/)
  })
  assert.ok(texts[0].length > 0)
  for (const t of texts) assert.equal(t, texts[0], `seed ${seed}`)
  assert.equal(late.text.toString(), texts[0])
})

test('Monaco', async () => {
  const { monaco, MonacoBinding } = await loadMonaco()
  const texts = []
  const open = (c) => {
    const model = monaco.editor.createModel('', 'plaintext')
    model.setEOL(monaco.editor.EndOfLineSequence.LF)
    const binding = new MonacoBinding(c.doc.getText('monaco'), model, new Set(), c.provider.awareness)
    return { model, destroy() { binding.destroy(); model.dispose() } }
  }
  await withEditors('monaco', open, async (clients, agreed) => {
    const r = new Random(seed)
    for (let i = 0; i < 200; i++) {
      const { editor: { model } } = r.pick(clients)
      const text = model.getValue()
      // Two places at once, as with several cursors: from here to there without overlap.
      const at = Array.from({ length: 4 }, () => whole(text, r.below(text.length + 1))).sort((a, b) => a - b)
      const range = (from, to) => monaco.Range.fromPositions(model.getPositionAt(from), model.getPositionAt(to))
      const changes = [{ range: range(at[0], Math.min(at[1], whole(text, at[0] + 3))), text: r.pick(words) }]
      if (at[2] > at[1] && at[1] > at[0] + 3) changes.push({ range: range(at[2], Math.min(at[3], whole(text, at[2] + 3))), text: r.pick(words) })
      model.pushEditOperations([], changes, () => null)
      if (r.chance(0.2)) await new Promise((resolve) => setImmediate(resolve))
    }
    await agreed('all that was typed')
    for (const c of clients) texts.push(c.editor.model.getValue(), c.doc.getText('monaco').toString())
  })
  assert.ok(texts[0].length > 0)
  for (const t of texts) assert.equal(t, texts[0], `seed ${seed}`)
})

test('ProseMirror', async () => {
  const name = 'prosemirror'
  const open = (c) => new ProseView(window.document.body, {
    state: ProseState.create({
      schema,
      plugins: [ySyncPlugin(c.doc.getXmlFragment(name)), yCursorPlugin(c.provider.awareness), yUndoPlugin()],
    }),
  })
  // A document that was not made in an editor.
  const first = prosemirrorToYDoc(schema.nodeFromJSON({ type: 'doc', content: [
    { type: 'heading', attrs: { level: 2 }, content: [{ type: 'text', text: 'A title' }] },
    { type: 'paragraph', content: [{ type: 'text', text: 'plain ' }, { type: 'text', text: 'strong', marks: [{ type: 'strong' }] }] },
  ] }), name)
  const maker = syncClient(server, name)
  await maker.synced()
  Y.applyUpdate(maker.doc, Y.encodeStateAsUpdate(first))
  const seen = syncClient(server, name)
  await docUntil(seen.doc, () => seen.doc.getXmlFragment(name).length === 2, 'the first document')
  maker.close(); seen.close()

  const trees = []
  const late = await withEditors(name, open, async (clients, agreed) => {
    // ySyncPlugin shows the document in a timeout of its own.
    for (const c of clients) {
      await within((async () => { while (c.editor.state.doc.childCount < 2) await new Promise((resolve) => setImmediate(resolve)) })(), 'the document to be shown')
    }
    const r = new Random(seed)
    for (let i = 0; i < 120; i++) {
      const { editor } = r.pick(clients)
      const { doc, tr } = editor.state
      const at = []
      doc.descendants((node, pos) => { if (node.isTextblock) at.push([pos + 1, pos + 1 + node.content.size]) })
      const [from, to] = r.pick(at)
      const pos = from + whole(doc.textBetween(from, to), r.between(0, to - from))
      switch (r.below(6)) {
        case 0: tr.split(pos); break
        case 1: if (to > from) tr.delete(from, pos); break
        case 2: tr.insert(pos, schema.text('bold', [schema.marks.strong.create()])); break
        default: tr.insertText(r.pick(words.filter((w) => !w.includes('\n') && !w.includes('\t'))), pos)
      }
      editor.dispatch(tr)
      if (r.chance(0.03)) { undo(editor.state); if (r.chance(0.5)) redo(editor.state) }
      if (r.chance(0.3)) await new Promise((resolve) => setImmediate(resolve))
    }
    await agreed('all that was typed')
    for (const c of clients) trees.push(c.editor.state.doc.toString(), yXmlFragmentToProseMirrorRootNode(c.doc.getXmlFragment(name), schema).toString())
    const html = clients.map((c) => { const div = window.document.createElement('div'); div.append(DOMSerializer.fromSchema(schema).serializeFragment(c.editor.state.doc.content)); return div.innerHTML })
    assert.match(html[0], /<strong>/)
    for (const h of html) assert.equal(h, html[0], `seed ${seed}`)
  })
  for (const t of trees) assert.equal(t, trees[0], `seed ${seed}`)
  assert.equal(yXmlFragmentToProseMirrorRootNode(late.doc.getXmlFragment(name), schema).toString(), trees[0])
})
