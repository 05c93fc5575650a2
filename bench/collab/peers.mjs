// Serves as one of the peers, with storage: node --expose-gc peers.mjs NAME PORT FOLDER
//
// SIGUSR2 makes it collect garbage. Without a port it says which versions there are.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const [name, port, folder] = process.argv.slice(2)

if (port === undefined) {
  const version = (module) => JSON.parse(fs.readFileSync(path.join(import.meta.dirname, 'node_modules', module, 'package.json'))).version
  console.log(`node ${process.version}, y-websocket ${version('y-websocket')} with y-leveldb ${version('y-leveldb')}, ` +
    `Hocuspocus ${version('@hocuspocus/server')} with its SQLite, yjs ${version('yjs')}`)
  process.exit()
}

process.on('SIGUSR2', () => { global.gc(); global.gc() })

switch (name) {
  case 'y-websocket':
    Object.assign(process.env, { HOST: '127.0.0.1', PORT: port, YPERSISTENCE: folder, NODE_ENV: 'production' })
    require('./node_modules/y-websocket/bin/server.cjs') // which the package does not export
    break
  case 'hocuspocus': {
    const { Server } = await import('@hocuspocus/server')
    const { SQLite } = await import('@hocuspocus/extension-sqlite')
    const server = new Server({
      address: '127.0.0.1', port: Number(port), quiet: true, stopOnSignals: true,
      extensions: [new SQLite({ database: path.join(folder, 'documents.sqlite') })]
    })
    await server.listen()
    break
  }
  default:
    throw new Error(`no peer is called ${name}`)
}
