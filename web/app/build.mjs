// Builds the page into web/dist, or with --test the unit tests into .test/.
// Asset names carry their content's hash, so the server lets browsers keep them.
import { build, context } from 'esbuild'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, '..', 'dist')

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
  await build(page)
}
