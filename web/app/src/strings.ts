// Every word the page shows, in one place.
import type { DriverReason, Role, Run, RunStatus } from './live/messages.ts'

const mac = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.userAgent)
export const runKeys = mac ? '⌘↵' : 'Ctrl+Enter'
export const stopKeys = mac ? '⌘.' : 'Ctrl+.'

export const t = {
  product: 'Corun',
  tagline: 'Write one program together. Run it. See the same thing.',
  untitled: 'Untitled room',

  yourName: 'Your name',
  nameHint: 'Others see it beside your cursor.',
  language: 'Language',
  title: 'Title',
  optional: 'optional',
  example: 'Start with a small example',
  newRoom: 'New room',
  makingRoom: 'Making the room…',
  apiToken: 'API token',
  apiTokenHint: 'This server lets only those with a token make rooms.',
  joinHeading: 'Have a link?',
  joinLabel: 'Room link',
  joinPlaceholder: 'Paste a room link',
  join: 'Join',
  joinBad: 'This is not a room link: it looks like https://…/r/…#t=…',
  languagesFailed: 'The server does not answer. Reload the page to try again.',

  code: 'Code',
  output: 'Output',
  room: 'Room',
  filesHeading: 'Files',
  people: 'People',
  you: 'you',
  newFile: 'New file',
  newFilePrompt: 'Path of the new file',
  renameFile: 'Rename',
  renamePrompt: 'New path of the file',
  deleteFile: 'Delete',
  deleteConfirm: (path: string) => `Delete ${path} for everybody?`,
  fileActions: (path: string) => `Actions for ${path}`,
  entry: 'Run starts here',
  setEntry: 'Run this file',
  cancel: 'Cancel',
  ok: 'OK',

  editorLabel: (path: string) => `Editor, ${path}. Escape, then Tab leaves it.`,
  readOnlyViewer: 'You are watching: only hosts and guests edit.',
  readOnlyLocked: 'The host locked this room: nobody edits now.',
  readOnlyDriver: 'Only who is at the keyboard edits.',
  readOnlyStorage: 'The server cannot save for the moment.',
  noFile: 'No file yet. Make one to begin.',
  loading: 'Opening the room…',

  run: 'Run',
  stop: 'Stop',
  runHint: 'Run to see the output here. Everybody in the room sees it too.',
  terminalLabel: 'Program output and input. Shift+Tab leaves it.',
  notStarted: 'Not run yet',
  queued: (position: number | null) =>
    position === null || position === 0 ? 'Waiting: next in line' : `Waiting: ${position} before this one`,
  compiling: 'Compiling…',
  compiledBefore: 'compiled before',
  compiledIn: (time: string) => `compiled in ${time}`,
  artefacts: 'Files that the program left',
  showLarge: (path: string) => `Show ${path} large`,
  saveFile: (path: string) => `Save ${path}`,
  artefactFailed: 'cannot be read',
  save: 'Save',
  close: 'Close',
  running: 'Running…',
  runsDisabled: 'The host switched running off',
  startedBy: (name: string) => `started by ${name}`,

  driverNobody: 'Nobody is at the keyboard',
  driverYou: 'You are at the keyboard',
  driverOther: (name: string) => `${name} is at the keyboard`,
  driverYouHint: 'What you type in the terminal reaches the program',
  driverOtherHint: (name: string) => `Only ${name}’s typing reaches the program`,
  driverTake: 'Take the keyboard',
  driverRequest: 'Ask for the keyboard',
  driverRequested: 'You asked',
  driverRelease: 'Let go',
  driverGive: 'Give the keyboard',
  driverGiveTo: (name: string) => `Give the keyboard to ${name}`,
  driverAsks: (name: string) => `${name} asks for the keyboard`,
  driving: 'at the keyboard',
  asking: 'asks for the keyboard',

  share: 'Share',
  shareGuest: 'Guest link',
  shareGuestHint: 'Edits, runs, may take the keyboard',
  shareViewer: 'Viewer link',
  shareViewerHint: 'Watches only',
  copy: 'Copy',
  copied: 'Copied',
  shareUnknown: 'This browser does not have that link.',
  shareRenew: 'Make a new one',
  shareRenewConfirm: (role: Role) => `The present ${role} link stops working and everybody who came by it must come again. Go on?`,
  shareViewerOnly: 'Only people who may edit can share this room.',

  remove: 'Remove',
  removeConfirm: (name: string) => `Remove ${name} from the room? Their link stops working.`,
  roles: { host: 'host', guest: 'guest', viewer: 'viewer' } satisfies Record<Role, string>,

  connected: 'Connected',
  connecting: 'Connecting…',
  reconnecting: 'Offline, trying again…',
  saved: 'Saved',
  saving: 'Saving…',
  unsavedOffline: 'Not saved yet',
  refused: (reason: string) => `The server did not take your last edit: ${reason}. Reload the page to see the room as it is.`,
  outputDropped: (bytes: string) => `… ${bytes} left out here: your connection was too slow; the transcript has them …`,

  themeAuto: 'Theme: as the system',
  themeLight: 'Theme: light',
  themeDark: 'Theme: dark',
  dismiss: 'Dismiss',
  resizePanes: 'Width of the editor',

  endings: {
    removed: { title: 'You were removed from this room', body: 'A host ended your access. If you think that was a mistake, ask them for a new link.' },
    ended: { title: 'This room has ended', body: 'The host closed it. Nothing more can be edited or run here.' },
    not_found: { title: 'There is no such room for this link', body: 'The link is incomplete, was replaced by a new one, or the room is gone. Ask whoever sent it for the present link.' },
  },
  toStart: 'Make a new room',

  driver: 'At the keyboard',
  playback: {
    title: 'Playback',
    open: 'Playback',
    loading: (entries: number) => `Loading what happened… ${entries}`,
    failed: 'This room cannot be shown again',
    toRoom: 'To the room',
    terminal: 'What the program printed',
    position: 'Position',
    at: (now: string, length: string) => `${now} of ${length}`,
    play: 'Play',
    pause: 'Pause',
    speed: 'Speed',
    skipIdle: 'Skip pauses',
    runAgain: 'Run this moment again',
    runBefore: 'Back to the run before',
    runAfter: 'On to the next run',
    run: (n: number) => `Run ${n}`,
    runBy: (n: number, name: string) => `Run ${n}, started by ${name}`,
    typed: 'typed',
    pasted: 'pasted',
  },

  files: {
    tree: 'Files. Enter opens, F2 renames, Delete deletes.',
    newIn: 'New file in this folder',
    upload: 'Upload files',
    uploadHint: 'Upload text files or a zip',
    download: 'Download all as zip',
    more: 'More for files',
    deleteFolder: (path: string, n: number) => `Delete the folder ${path} with ${n === 1 ? 'its file' : `its ${n} files`} for everybody?`,
    renameFolderPrompt: 'New path of the folder',
    dropHere: 'Drop to add here',
    added: (n: number) => (n === 1 ? '1 file added.' : `${n} files added.`),
    leftOut: (path: string, why: string) => `${path} was left out: ${why}`,
    moreProblems: (n: number) => `and ${n} more`,
    tooLarge: (size: string, most: string) => `it has ${size}; a file may have ${most}.`,
    notText: 'it is not text in UTF-8. Only text can be edited here.',
    tooMany: (most: number) => `a room has at most ${most} files.`,
    roomFull: (most: string) => `a room’s files have at most ${most} together.`,
    isFolder: 'it is a folder. Drop its files, or a zip of it.',
    unreadable: 'the browser could not read it.',
    notZip: 'This is not a zip archive, or it is damaged.',
    zipTooLarge: (most: string) => `The archive unpacks to more than ${most}, which is all that a room can hold. Nothing was added.`,
    zipTooMany: (most: number) => `The archive has more than ${most} files, which is all that a room can hold. Nothing was added.`,
    zipEscapes: (name: string) => `The archive has a file “${name}”, whose path leads out of its folder. Nothing was added.`,
    zipEmpty: 'The archive has no files.',
  },

  recent: {
    heading: 'Recent rooms',
    hint: 'Only this browser knows them.',
    remove: (title: string) => `Remove ${title} from the list`,
    when: (at: number) => new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }),
  },

  follow: {
    start: (name: string) => `Follow ${name}`,
    following: (name: string) => `Following ${name}`,
    stopFollowing: (name: string) => `Stop following ${name}`,
    stop: 'Stop',
  },

  tabs: {
    list: 'Open files. Arrows choose, Delete closes.',
    close: 'Close (Alt+W)',
    quickOpen: 'Open a file by name',
    noMatch: 'No file has these letters in its path.',
  },

  editor: {
    settings: 'Editor settings',
    keyMap: 'Keys',
    keyMaps: { default: 'Usual', vim: 'Vim', emacs: 'Emacs' },
    fontSize: 'Font size',
    usual: 'Usual',
    tabSize: 'Indentation',
    byLanguage: 'As the language has it',
    wrap: 'Wrap long lines',
  },

  says: {
    joined: (name: string) => `${name} joined`,
    left: (name: string) => `${name} left`,
    runStarted: (name: string) => `Run started by ${name}`,
  },
}

export function driverChange(reason: DriverReason, name: string | null, you: boolean): string {
  if (name === null) return reason === 'left' ? 'The keyboard is free: its holder left' : 'The keyboard is free'
  return you ? t.driverYou : t.driverOther(name)
}

/** Bytes in words, in the binary units that the limits use. */
export function bytes(n: number): string {
  if (n < 1024) return `${n} B`
  const units = ['KiB', 'MiB', 'GiB']
  let value = n
  let unit = -1
  do {
    value /= 1024
    unit++
  } while (value >= 1023.95 && unit < units.length - 1)
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

/** Milliseconds in words, with about three digits that mean something. */
export function duration(ms: number): string {
  if (ms < 1) return '<1 ms'
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9_995 ? 2 : 1)} s`
  const s = Math.round(ms / 1000)
  return `${Math.floor(s / 60)} min ${s % 60} s`
}

const statusWords: Record<RunStatus, string> = {
  exited: 'Finished',
  signaled: 'Ended by a signal',
  compile_failed: 'Did not compile',
  timeout: 'Ran out of time',
  cpu_limit: 'Used up its CPU time',
  memory_limit: 'Ran out of memory',
  output_limit: 'Printed too much',
  stopped: 'Stopped',
  lost: 'Lost',
  failed: 'Could not run',
}

export const verdictOf = (status: RunStatus | ''): string => statusWords[status || 'failed']

/** Milliseconds as a clock shows them: minutes and seconds, and hours where there are. */
export function clock(ms: number): string {
  const s = Math.floor(Math.max(0, ms) / 1000)
  const two = (n: number): string => String(n).padStart(2, '0')
  const rest = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
  return s < 3600 ? rest : `${Math.floor(s / 3600)}:${rest}`
}

export type VerdictTone = 'good' | 'bad' | 'plain'

export interface Verdict {
  tone: VerdictTone
  /** One or two words. */
  head: string
  /** What more there is to say, or ''. */
  detail: string
}

/** A finished run in words. */
export function verdict(run: Run): Verdict {
  const status = run.status || 'failed'
  const head = statusWords[status]
  const message = run.message ?? ''
  switch (status) {
    case 'exited': {
      const code = run.exit_code ?? 0
      return { tone: code === 0 ? 'good' : 'bad', head, detail: `exit status ${code}` }
    }
    case 'signaled':
      return { tone: 'bad', head: run.signal ? `Ended by ${run.signal}` : head, detail: message }
    case 'stopped':
      return { tone: 'plain', head, detail: message }
    default:
      return { tone: 'bad', head, detail: message }
  }
}
