// Builds the page into web/dist, or with --test the unit tests into .test/.
// Asset names carry their content's hash, so the server lets browsers keep them.
import { build, context } from 'esbuild'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, '..', 'dist')

/** What a room may load before somebody can type in it, in bytes of gzip. */
const FIRST_LOAD_MOST = 300_000
/** What main.tsx and the room load at once by import(): all else waits for a use of it. */
const LOADED_AT_ONCE = ['src/room/room-page.tsx', 'node_modules/y-indexeddb/src/y-indexeddb.js', 'node_modules/@codemirror/autocomplete/dist/index.js']

/** Writes index.html, which names the hashed files of this build. */
const writeIndex = {
  name: 'write-index',
  setup(b) {
    b.onEnd(async ({ metafile, errors }) => {
      if (errors.length > 0 || !metafile) return
      const made = Object.entries(metafile.outputs).find(([, o]) => o.entryPoint === 'src/main.tsx')
      if (!made) throw new Error('the build made no main script')
      const [script, { cssBundle }] = made
      const url = (path) => '/' + relative(dist, join(here, path)).replaceAll('\\', '/')
      const html = await readFile(join(here, 'index.html'), 'utf8')
      await writeFile(
        join(dist, 'index.html'),
        html.replace('%SCRIPT%', url(script)).replace('%STYLE%', cssBundle ? url(cssBundle) : ''),
      )
    })
  },
}

const page = {
  absWorkingDir: here,
  // tsconfig.json points at type declarations, which are nothing to bundle.
  tsconfigRaw: {},
  entryPoints: ['src/main.tsx'],
  outdir: join(dist, 'assets'),
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: ['es2022', 'chrome115', 'firefox121', 'safari17'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  minify: true,
  metafile: true,
  legalComments: 'linked',
  logLevel: 'warning',
  plugins: [writeIndex],
}

/** The files that a room loads at first, with what they take in gzip, the largest first. */
async function firstLoad({ outputs }) {
  const files = new Set()
  const take = (path) => {
    if (files.has(path)) return
    files.add(path)
    for (const { kind, path: other } of outputs[path].imports) if (kind === 'import-statement') take(other)
  }
  for (const entry of ['src/main.tsx', ...LOADED_AT_ONCE]) {
    const made = Object.keys(outputs).find((path) => outputs[path].entryPoint === entry)
    if (made === undefined) throw new Error(`the build made nothing of ${entry}, which a room loads at once: see LOADED_AT_ONCE in build.mjs`)
    take(made)
    if (entry === 'src/main.tsx' && outputs[made].cssBundle) files.add(outputs[made].cssBundle)
  }
  const paths = [...[...files].map((path) => join(here, path)), join(dist, 'index.html'), join(dist, 'assets', 'sw.js')]
  const sizes = await Promise.all(paths.map(async (path) => {
    const inputs = Object.entries(outputs[relative(here, path).replaceAll('\\', '/')]?.inputs ?? {}).sort(([, a], [, b]) => b.bytesInOutput - a.bytesInOutput)
    return { name: basename(path), size: gzipSync(await readFile(path), { level: 9 }).length, most: inputs[0]?.[0].replace('node_modules/', '') ?? '' }
  }))
  return sizes.sort((a, b) => b.size - a.size)
}

/** Ends the build in words when a room would load too much at first. */
async function checkFirstLoad(metafile) {
  const files = await firstLoad(metafile)
  const all = files.reduce((sum, { size }) => sum + size, 0)
  const figure = (n) => n.toLocaleString('en')
  if (all <= FIRST_LOAD_MOST) {
    console.log(`first load of a room: ${figure(all)} of ${figure(FIRST_LOAD_MOST)} bytes in gzip, ${files.length} files`)
    return
  }
  for (const { name, size, most } of files) console.error(`${figure(size).padStart(9)}  ${name}${most === '' ? '' : ` (${most})`}`)
  console.error(`A room would load ${figure(all)} bytes in gzip before somebody can type in it, ${figure(all - FIRST_LOAD_MOST)} more than the ${figure(FIRST_LOAD_MOST)} that it may: load what is not needed at once by import().`)
  process.exitCode = 1
}

/** The service worker keeps its name: a browser asks for it again by that. */
const serviceWorker = {
  absWorkingDir: here,
  tsconfigRaw: {},
  entryPoints: ['src/sw.ts'],
  outfile: join(dist, 'assets', 'sw.js'),
  bundle: true,
  format: 'iife',
  target: page.target,
  minify: true,
  logLevel: 'warning',
}

/** Packs scripts and styles, which the server gives to whoever takes gzip. */
async function pack() {
  const assets = join(dist, 'assets')
  for (const name of await readdir(assets)) {
    if (/\.(js|css)$/.test(name)) await writeFile(join(assets, `${name}.gz`), gzipSync(await readFile(join(assets, name)), { level: 9 }))
  }
}

/** The files of dist but for the placeholder that git keeps. */
async function emptyDist() {
  await mkdir(dist, { recursive: true })
  for (const name of await readdir(dist)) {
    if (name !== '.gitkeep') await rm(join(dist, name), { recursive: true })
  }
}

if (process.argv.includes('--test')) {
  const out = join(here, '.test')
  await rm(out, { recursive: true, force: true })
  const tests = (await readdir(join(here, 'test'))).filter((f) => f.endsWith('.test.ts'))
  await build({
    absWorkingDir: here,
    tsconfigRaw: {},
    entryPoints: tests.map((f) => join('test', f)),
    outdir: out,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node18',
    // Node 18 has no global crypto; browsers and later versions do.
    banner: { js: "import { webcrypto as nodeCrypto } from 'node:crypto'; globalThis.crypto ??= nodeCrypto;" },
    sourcemap: 'inline',
    logLevel: 'warning',
  })
} else if (process.argv.includes('--watch')) {
  await emptyDist()
  await build(serviceWorker)
  const watching = await context({ ...page, minify: false, sourcemap: 'inline', logLevel: 'info' })
  await watching.watch()
} else {
  await emptyDist()
  await build(serviceWorker)
  const { metafile } = await build(page)
  await checkFirstLoad(metafile)
  await pack()
}
