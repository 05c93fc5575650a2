// How the editor looks. Colours are the page's CSS variables, so light and dark
// need nothing here.
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorView } from '@codemirror/view'
import { tags } from '@lezer/highlight'

const theme = EditorView.theme({
  '&': { height: '100%', color: 'var(--text)', backgroundColor: 'var(--paper)', fontSize: 'var(--code-size)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6', overscrollBehavior: 'contain' },
  '.cm-content': { padding: '12px 0 40vh', caretColor: 'var(--caret)' },
  '.cm-line': { padding: '0 16px 0 8px' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--caret)', borderLeftWidth: '2px' },
  '.cm-gutters': { backgroundColor: 'var(--paper)', color: 'var(--faint)', border: 'none' },
  '.cm-lineNumbers .cm-gutterElement': { padding: '0 8px 0 16px', minWidth: '44px' },
  '.cm-activeLine': { backgroundColor: 'var(--line-active)' },
  '.cm-activeLineGutter': { backgroundColor: 'transparent', color: 'var(--text-soft)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'var(--selection)',
  },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': {
    backgroundColor: 'var(--match)', outline: '1px solid var(--match-edge)',
  },
  '.cm-panels': { backgroundColor: 'var(--panel)', color: 'var(--text)', borderColor: 'var(--edge)' },
  '.cm-panels-top': { borderBottom: '1px solid var(--edge)' },
  '.cm-panels-bottom': { borderTop: '1px solid var(--edge)' },
  '.cm-panel.cm-search': { padding: '8px 36px 8px 12px', display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: '6px 8px', font: '13px var(--sans)' },
  '.cm-panel.cm-search br': { flexBasis: '100%', content: '""', height: 0 },
  '.cm-panel.cm-search input, .cm-panel.cm-search button, .cm-panel.cm-search label': { margin: 0 },
  '.cm-panel.cm-search label': { display: 'inline-flex', alignItems: 'center', gap: '5px', fontSize: '13px', minHeight: '28px' },
  '.cm-textfield': {
    minHeight: '30px', padding: '0 8px', font: '13px var(--mono)', border: '1px solid var(--edge-strong)', borderRadius: '6px',
    backgroundColor: 'var(--paper)', color: 'var(--text)',
  },
  '.cm-button': {
    minHeight: '28px', padding: '0 10px', font: '13px var(--sans)', border: '1px solid var(--edge)', borderRadius: '6px',
    backgroundColor: 'var(--raised)', backgroundImage: 'none', color: 'var(--text)',
  },
  '.cm-button:hover': { borderColor: 'var(--edge-strong)' },
  '.cm-panel.cm-search [name=close]': { top: '8px', right: '8px', width: '28px', minHeight: '28px', fontSize: '18px', color: 'var(--text)' },
  '.cm-vim-panel': { padding: '3px 12px', font: '13px var(--mono)', color: 'var(--text)' },
  '.cm-vim-panel input': { color: 'var(--text)', font: '13px var(--mono)' },
  '&.cm-focused .cm-fat-cursor': { background: 'var(--caret)', color: 'var(--paper) !important' },
  '&:not(.cm-focused) .cm-fat-cursor': { outline: '1px solid var(--caret)' },
  '.cm-searchMatch': { backgroundColor: 'var(--match)', outline: '1px solid var(--match-edge)' },
  '.cm-searchMatch-selected': { backgroundColor: 'var(--selection)', outline: '2px solid var(--accent)' },
  '.cm-tooltip': { backgroundColor: 'var(--panel)', border: '1px solid var(--edge)', borderRadius: '6px' },
})

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.controlKeyword, tags.operatorKeyword], color: 'var(--syn-keyword)' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: 'var(--syn-string)' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom, tags.self], color: 'var(--syn-value)' },
  { tag: [tags.comment, tags.meta], color: 'var(--syn-comment)', fontStyle: 'italic' },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.definition(tags.function(tags.variableName))], color: 'var(--syn-function)' },
  { tag: [tags.className, tags.typeName, tags.definition(tags.className), tags.standard(tags.name)], color: 'var(--syn-type)' },
  { tag: [tags.definition(tags.variableName), tags.propertyName], color: 'var(--syn-name)' },
  { tag: tags.invalid, color: 'var(--bad)' },
])

export const look = [theme, syntaxHighlighting(colours)]
