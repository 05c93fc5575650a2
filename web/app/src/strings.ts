// Every word the page shows, in one place: here in English, in strings-de.ts in
// German, which must have all that is here. Which of them is shown is chosen in
// language.ts; English is part of what is loaded first, and what is shown where
// another language cannot be had.
import { signal } from '@preact/signals'
import { counted, numbers, type Locale } from './plural.ts'
import type { TestResult, TestsSummary, TestVerdict } from './live/tests.ts'
import type { DriverReason, Role, Run, RunStatus } from './live/messages.ts'

export const mac = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.userAgent)

const altKeys = mac ? '⌥⇧' : 'Alt+Shift+'
const count = counted('en')

export const english = {
  locale: 'en' as Locale,
  keys: { run: mac ? '⌘↵' : 'Ctrl+Enter', stop: mac ? '⌘.' : 'Ctrl+.' },
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
  driverRelease: 'Let go',
  driverGive: 'Give the keyboard',
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
  suggestedName: { first: ['Amber', 'Brisk', 'Calm', 'Clever', 'Gentle', 'Lively', 'Lucky', 'Quick', 'Quiet', 'Sunny'], last: ['Badger', 'Finch', 'Fox', 'Hare', 'Heron', 'Lynx', 'Otter', 'Owl', 'Robin', 'Seal'] },

  connected: 'Connected',
  connecting: 'Connecting…',
  reconnecting: 'Offline, trying again…',
  saved: 'Saved',
  saving: 'Saving…',
  unsavedOffline: 'Not saved yet',
  refused: (reason: string) => `The server did not take your last edit: ${reason}. Reload the page to see the room as it is.`,
  outputDropped: (bytes: string) => `… ${bytes} left out here: your connection was too slow; the transcript has them …`,

  look: {
    settings: 'Appearance and language',
    theme: 'Theme',
    themes: { auto: 'As the system', light: 'Light', dark: 'Dark', contrast: 'High contrast' },
    language: 'Language of the page',
    asBrowser: 'As the browser',
  },
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

  runs: {
    options: 'Run options',
    optionsSet: (what: string) => `Run options: ${what}`,
    entry: 'File to run',
    entryOfRoom: (path: string) => (path === '' ? 'The room’s' : `The room’s: ${path}`),
    entryGone: (path: string) => `${path} is gone: the room’s file runs.`,
    args: 'Arguments',
    argsPlaceholder: '--size 3 "two words"',
    argsHint: 'Split as in a shell: quotes and backslashes hold words together.',
    argsSplit: (n: number) => count(n, '1 argument:', `${n} arguments:`),
    argsNone: 'No arguments',
    unclosed: { '"': 'A " is not closed.', "'": 'A \' is not closed.', '\\': 'Nothing follows the last backslash.' },
    emptyArg: 'empty',
    mode: 'Input and output',
    terminal: 'Terminal',
    terminalHint: 'Who is at the keyboard types into the program.',
    pipes: 'Pipes',
    pipesHint: 'The program reads the text below and then its end.',
    stdin: 'Standard input',
    stdinSize: (size: string) => `${size}, then the end`,
    reset: 'As usual again',
    onlyHere: 'For runs that you start in this room, in this browser.',
    badArgs: (why: string) => `The arguments of the run options cannot be used: ${why}`,

    watching: (name: string) => `You are watching: only ${name} types into the program`,
    watchingNobody: 'You are watching: nobody is at the keyboard',
    youType: 'What you type here goes to the program',
    given: 'The program got its input when it began',
    edits: (n: number) => count(n, 'Output is 1 edit old', `Output is ${n} edits old`),
    editsHint: 'The code has changed since this run. The lines that did are marked beside their numbers.',
    lineChanged: 'Changed since the run',
    problemHere: 'The run found a problem in this line',
    linesRemoved: 'Lines above were removed since the run',
    problems: (n: number) => count(n, '1 problem in the code', `${n} problems in the code`),
    problemsHint: 'To the first of them. F8 in the editor lists them.',
    places: 'Lines of your code in the output',
    noPlaces: 'The output names no line of the files here.',
    placeGone: (path: string) => `${path} is not here any more.`,
    goTo: (path: string, line: number) => `${path}, line ${line}`,
    find: 'Find in the output',
    findPlaceholder: 'Find',
    findNext: 'Next match',
    findBefore: 'Match before',
    findClose: 'Close the search',
    found: (at: number, of: number) => (of === 0 ? 'Nothing found' : at === 0 ? `${of} found` : `${at} of ${of}`),
    copy: 'Copy the output, or what is selected',
    copied: 'The output was copied.',
    notCopied: 'This browser does not let the page copy. Select the text and press Ctrl+C.',
    clear: 'Clear the screen here',
    spoken: 'Have a screen reader read the output',

    cpu: (time: string) => `${time} CPU`,
    cpuTitle: 'processor time',

    history: 'Runs of this room',
    historyEmpty: 'Nothing was run here yet.',
    historyFailed: (why: string) => `This cannot be shown: ${why}`,
    loading: 'Loading…',
    number: (n: number) => `Run ${n}`,
    by: (name: string, time: string) => `${name}, ${time}`,
    list: 'Runs, the newest first',
    output: 'Output',
    code: 'Code',
    changes: 'Changes since',
    views: 'What to show of the run',
    noOutput: 'It printed nothing.',
    noFiles: 'There were no files.',
    unchanged: 'The code is as it was.',
    then: 'As it ran',
    now: 'Now',
    fileAdded: 'new since',
    fileRemoved: 'gone since',
    file: 'File',
    runNow: 'Run again as it is now',
    runThen: 'Run that code again',
    busy: 'Something runs now.',
    earlier: 'Only the last 100 are listed.',
  },

  seat: {
    queue: 'Who asks for the keyboard',
    withdraw: 'Take back',
    withdrawTitle: 'Take back that you asked for the keyboard',
    grant: 'Give it',
    grantTo: (name: string) => `Give it to ${name}`,
    deny: 'Not now',
    denyTo: (name: string) => `Not now, ${name}`,
    place: (n: number) => (n === 1 ? 'You are next' : `You are number ${n} in line`),
    denied: (name: string) => `${name} keeps the keyboard for now.`,
    deniedUnknown: 'Your request was turned down for now.',
    give: 'Give the keyboard to…',
    nobodyElse: 'Nobody else here may type.',
    rotate: 'Hand the keyboard on by itself',
    rotateOff: 'Off',
    rotateEvery: (minutes: number) => `Every ${minutes} min`,
    rotateMinutes: 'Minutes',
    rotateSet: 'Set',
    rotateBad: 'Give from 0.05 to 120 minutes.',
    rotateHint: 'Each person in the room has it for so long, in the order of joining.',
    rotating: (name: string, left: string) => `To ${name} ${left}`,
    rotatingAlone: (minutes: string) => `Every ${minutes} min, once somebody else is here`,
    rotationSet: (minutes: string) => `The keyboard goes round every ${minutes} minutes`,
    rotationOff: 'The keyboard stays where it is',
    yours: 'you',
    in: (minutes: number) => `in ${minutes} min`,
    inAMinute: 'in under a minute',
    inAMoment: 'in a moment',
    menu: 'The keyboard: give it, or hand it on by itself',
  },

  files: {
    tree: 'Files. Enter opens, F2 renames, Delete deletes.',
    newIn: 'New file in this folder',
    upload: 'Upload files',
    uploadHint: 'Upload text files or a zip',
    download: 'Download all as zip',
    more: 'More for files',
    deleteFolder: (path: string, n: number) => `Delete the folder ${path} with ${count(n, 'its file', `its ${n} files`)} for everybody?`,
    renameFolderPrompt: 'New path of the folder',
    dropHere: 'Drop to add here',
    added: (n: number) => count(n, '1 file added.', `${n} files added.`),
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

  dock: {
    chat: 'Chat',
    tests: 'Tests',
    notes: 'Private notes',
    keys: { chat: `${altKeys}C`, tests: `${altKeys}T`, notes: `${altKeys}N` },
    close: 'Close this panel',
    loading: 'Loading…',
    failed: 'This could not be loaded. Reload the page to try again.',
  },

  host: {
    title: 'Room settings',
    states: 'What is set in this room',
    lock: 'Lock the room',
    lockHint: 'Nobody edits, hosts neither.',
    isLocked: 'Locked: nobody edits',
    driverOnly: 'Only who is at the keyboard edits',
    driverOnlyHint: 'Everybody else watches the code.',
    isDriverOnly: 'Only who is at the keyboard edits',
    runs: 'Running programs',
    runsHint: 'Hosts and guests may run the program.',
    runsAreOff: 'Running is switched off',
    end: 'End the room…',
    endYes: 'End the room',
    endConfirm: 'End this room for everybody? Nobody can edit or run anything in it any more.',
  },

  chat: {
    messages: 'Messages',
    empty: 'Nothing was said yet.',
    write: 'Message',
    hint: 'Enter sends, Shift+Enter begins a new line',
    send: 'Send',
    viewer: 'You are watching: only hosts and guests write here.',
    offline: 'There is no connection: try again in a moment.',
    unread: (n: number) => count(n, '1 unread message', `${n} unread messages`),
    says: (name: string, text: string) => `${name} says: ${text.length > 200 ? `${text.slice(0, 200)}…` : text}`,
    left: (n: number) => count(n, '1 byte left', `${n} bytes left`),
    over: (n: number) => count(n, '1 byte too long', `${n} bytes too long`),
    remove: (name: string) => `Remove this message of ${name}`,
    removeConfirm: (name: string) => `Remove this message of ${name} for everybody? Its text is deleted from the room’s log too.`,
    linkLine: 'Link this line',
    linkRun: (n: number) => `Link run ${n}`,
    unlink: (what: string) => `Leave out the link to ${what}`,
    run: (n: number) => `Run ${n}`,
    line: (path: string, line: number) => `${path}, line ${line}`,
    fileGone: 'a file that was deleted',
  },

  format: {
    action: 'Format the file',
    keys: mac ? '⇧⌥F' : 'Shift+Alt+F',
    none: (language: string) => `There is no formatter for ${language} here.`,
    noFile: 'This file belongs to no language that can be formatted here.',
    done: 'The file was formatted.',
    already: 'The file is formatted already.',
  },

  bring: {
    action: 'Bring everyone here',
    hint: 'Everybody’s editor goes to your file and line.',
    done: 'Everybody was brought to where you are.',
    brought: (name: string) => `${name} brought everyone here.`,
    back: 'Back to where I was',
    stay: 'Stay',
  },

  tests: {
    run: 'Run tests',
    edit: 'Edit tests…',
    editTitle: 'Tests of this room',
    cases: 'Test cases',
    none: 'This room has no tests.',
    noneHost: 'No tests yet. Add some, and everybody can run them.',
    results: 'Results of the tests',
    name: 'Name',
    result: 'Result',
    points: 'Points',
    hidden: 'hidden',
    waiting: 'Waiting',
    notRun: 'Not run yet',
    notRunYet: 'Not run',
    running: (run: number) => `Run ${run}, running…`,
    summary: (s: TestsSummary) => `${s.passed} of ${s.total} passed${s.max_points > 0 ? `, ${numbers('en', s.points)} of ${count(s.max_points, '1 point', `${numbers('en', s.max_points)} points`)}` : ''}`,
    failed: 'Failed',
    verdicts: {
      passed: 'Passed',
      wrong_output: 'Wrong output',
      runtime_error: 'Ended with an error',
      checker_failed: 'The checker failed',
    } satisfies Record<Exclude<TestVerdict, RunStatus>, string>,
    outOf: (points: number) => `– / ${numbers('en', points)}`,
    pointsOf: (points: number, max: number) => `${numbers('en', points)} / ${numbers('en', max)}`,
    stdin: 'Input',
    args: 'Arguments',
    argsBad: (why: string) => `The arguments cannot be used: ${why}`,
    expected: 'Expected output',
    pattern: 'Pattern of the whole output (RE2)',
    printed: 'Printed',
    stderr: 'Printed as errors',
    nothing: '(nothing)',
    difference: 'Difference',
    diffKinds: { same: '', missing: 'missing: ', extra: 'not expected: ' },
    match: 'Compared',
    matches: {
      trimmed: 'without spaces at the ends of lines',
      exact: 'exactly, byte by byte',
      numeric: 'number by number',
      regex: 'with a pattern',
      checker: 'by a program',
    },
    tolerance: 'Tolerance',
    checker: 'Program that checks',
    checkerLanguage: 'Its language',
    checkerHint: 'It finds the input in input.txt and what was printed in output.txt. Exit code 0 is passed, 1 is wrong; what it prints is the message.',
    checkerFiles: (n: number) => `The checker has ${count(n, '1 file', `${n} files`)}, which were given by the API and stay as they are.`,
    limits: 'Limits; those of any run where they are left empty',
    wall: 'Time, seconds',
    cpu: 'CPU time, seconds',
    memory: 'Memory, MiB',
    hiddenHint: 'Hidden: guests see whether it passed, and nothing else',
    newName: (n: number) => `Test ${n}`,
    unnamed: 'Without a name',
    add: 'Add a test',
    up: 'Move up',
    down: 'Move down',
    remove: 'Delete this test',
    save: 'Save',
    saving: 'Saving…',
    discard: 'Close without saving what you changed?',
    discardYes: 'Close without saving',
    nameBad: 'The name must be one line of text.',
    nameLong: 'The name is longer than 200 bytes.',
    pointsBad: 'Points are a number of 0 or more.',
    toleranceBad: 'The tolerance is a number, like 0.001 or 1e-6.',
    checkerMissing: 'Give the program that checks.',
    limitBad: 'A limit is a number above 0, or empty.',
  },

  notes: {
    who: 'Private notes: only hosts see this',
    placeholder: 'Write what only hosts should read…',
    offline: 'Not connected: what you write is sent when the connection is back.',
  },

  languages: {
    find: 'Find a language',
    found: (n: number) => count(n, '1 language found', `${n} languages found`),
    none: 'No language here is called that.',
  },

  lobby: {
    on: 'Lobby: guests wait outside',
    make: 'Let guests wait until I start the room',
    title: 'Lobby',
    prepare: 'Nobody but hosts sees this room yet.',
    nobody: 'Nobody waits so far.',
    who: (names: string[]) => `${count(names.length, 'Waiting', `${names.length} wait`)}: ${names.join(', ')}`,
    people: 'Who waits',
    refuse: (name: string) => `Remove ${name}`,
    start: 'Start the room',
    came: (name: string) => `${name} waits in the lobby`,
    started: 'The host started the room',
    waitTitle: 'The host will let you in soon',
    waitBody: 'This room has not started. You come in by yourself as soon as the host starts it: there is nothing to do or to reload.',
    connected: 'Connected. The host sees that you wait.',
  },

  paths: {
    none: 'A file needs a name.',
    long: (most: number) => `The path is longer than ${most} bytes.`,
    absolute: 'The path must not begin with “/”.',
    backslash: 'The path holds a backslash: folders are separated by “/”.',
    control: 'The path holds a control character.',
    parts: 'Each part of the path must be a name: not empty, not “.” or “..”.',
    taken: (path: string) => `There is a file ${path} already.`,
    folder: (one: string, other: string) => `${one} and ${other} can’t both be: one would be a folder.`,
    example: 'name.py',
  },

  serverAnswered: (status: number) => `The server answered ${status}.`,

  usage: { compile: 'time to compile', wall: 'wall time', memory: 'most memory in use' },

  verdict: {
    status: {
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
    } satisfies Record<RunStatus, string>,
    exitStatus: (code: number) => `exit status ${code}`,
    endedBy: (signal: string) => `Ended by ${signal}`,
  },

  seatFree: 'The keyboard is free',
  seatFreeLeft: 'The keyboard is free: its holder left',

  /** CodeMirror's own words, by what they are in English. */
  phrases: {} as Record<string, string>,
}

export type Words = typeof english

/** Each language in itself, as who looks for theirs may read no other. */
export const languageNames = { en: 'English', de: 'Deutsch' }

/** The words that are shown now; language.ts alone sets them. */
export const words = signal<Words>(english)

/** The words in the person's language. What reads them while it is rendered is rendered anew when that changes. */
export const t: Words = new Proxy(english, { get: (_, key) => Reflect.get(words.value, key) as unknown })

export function driverChange(reason: DriverReason, name: string | null, you: boolean): string {
  if (name === null) return reason === 'left' ? t.seatFreeLeft : t.seatFree
  return you ? t.driverYou : t.driverOther(name)
}

const digits = (n: number, places: number): string => numbers(t.locale, n, places)

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
  return `${value < 10 ? digits(value, 1) : Math.round(value)} ${units[unit]}`
}

/** Milliseconds in words, with about three digits that mean something. */
export function duration(ms: number): string {
  if (ms < 1) return '<1 ms'
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${digits(ms / 1000, ms < 9_995 ? 2 : 1)} s`
  const s = Math.round(ms / 1000)
  return `${Math.floor(s / 60)} min ${s % 60} s`
}

/** A date and a time of day, as they are written where this person is. */
export const dateTime = (at: Date): string => new Intl.DateTimeFormat(t.locale, { dateStyle: 'medium', timeStyle: 'short' }).format(at)

/** A time of day; to the second where things follow each other fast. */
export const timeOfDay = (at: Date, style: 'short' | 'medium' = 'short'): string => new Intl.DateTimeFormat(t.locale, { timeStyle: style }).format(at)

export const verdictOf = (status: RunStatus | ''): string => t.verdict.status[status || 'failed']

/** What became of a test. */
export function testVerdict({ verdict: what, passed }: TestResult): string {
  if (what === undefined) return passed ? t.tests.verdicts.passed : t.tests.failed
  return ({ ...t.tests.verdicts, ...t.verdict.status } satisfies Record<TestVerdict, string>)[what]
}

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
  const head = verdictOf(status)
  const message = run.message ?? ''
  switch (status) {
    case 'exited': {
      if (run.tests !== undefined) {
        const all = run.tests.passed === run.tests.total
        return { tone: all ? 'good' : 'bad', head, detail: t.tests.summary(run.tests) }
      }
      const code = run.exit_code ?? 0
      return { tone: code === 0 ? 'good' : 'bad', head, detail: t.verdict.exitStatus(code) }
    }
    case 'signaled':
      return { tone: 'bad', head: run.signal ? t.verdict.endedBy(run.signal) : head, detail: message }
    case 'stopped':
      return { tone: 'plain', head, detail: message }
    default:
      return { tone: 'bad', head, detail: message }
  }
}
