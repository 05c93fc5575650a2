'use strict';
// Starts Node.js ahead of its program. The command is that of a program without arguments
// (node main.js), with this file as a module that is required before (NODE_OPTIONS):
// Node requires it before it looks at the file that it is to run. Here it waits until there
// is one; then all that tells of this is taken back and Node goes on by itself, so that the
// program is run as any other. Node is started in another folder than the program's: it
// remembers of each where it has looked for a package.json that there was none.
{
  const socket = 255;
  const folder = '/work';
  const fs = require('fs');
  const path = require('path');
  const Module = require('module');

  // What nearly all programs use is loaded and compiled when it is used first.
  const warmUp = () => {
    void process.stdout;
    void process.stderr;
    const { Console } = require('console');
    const { Writable } = require('stream');
    const nowhere = new Console(new Writable({ write: (_chunk, _encoding, done) => done() }));
    nowhere.log('%s %d', 'text', 1, { a: [1, 'b', null] }, new Map([[1, new Set()]]), new Date(0));
    nowhere.error(new Error('none'));
    for (const file of ['warmup.js']) {
      const name = path.join(__dirname, file);
      require(name);
      forget(name);
    }
  };

  // forget removes a module from what can be seen of those that were loaded.
  const forget = (name) => {
    const loaded = require.cache[name];
    delete require.cache[name];
    for (const list of [module.children, module.parent?.children, process._preload_modules]) {
      const at = list ? list.findIndex((m) => m === loaded || m === name) : -1;
      if (at >= 0) list.splice(at, 1);
    }
  };

  // read waits for the program's entry and arguments.
  const read = () => {
    fs.writeSync(socket, 'r');
    const parts = [];
    const buffer = Buffer.alloc(65536);
    for (let n; (n = fs.readSync(socket, buffer, 0, buffer.length, null)) > 0; ) {
      parts.push(Buffer.from(buffer.subarray(0, n)));
    }
    fs.closeSync(socket);
    return Buffer.concat(parts).toString().split('\0').slice(0, -1);
  };

  // enter has Node run entry in place of the file on its command line, which it has read
  // already and looks up yet: once for how to load it, and again where it is no ES module.
  const enter = (entry) => {
    const named = process.argv[1];
    process.argv[1] = entry;
    if (entry === named) return;
    const findPath = Module._findPath;
    let lookups = 0;
    const restore = () => {
      Module._findPath = findPath;
    };
    Module._findPath = (request, paths, isMain) => {
      if (++lookups === 2) restore();
      return findPath(isMain && request === named ? entry : request, paths, isMain);
    };
    process.nextTick(restore);
  };

  const wait = () => {
    warmUp();
    const [entry, ...args] = read();
    if (entry === undefined) process.reallyExit(0); // no program will come
    process.stdout._refreshSize?.(); // of a terminal, which may have another size by now
    process.stderr._refreshSize?.();
    process.chdir(folder);
    enter(path.resolve(entry));
    process.argv.push(...args);
  };

  // A worker or a child of the program has no such socket.
  let waits = false;
  try {
    waits = require('worker_threads').isMainThread && fs.fstatSync(socket).isSocket();
  } catch {
    // none
  }
  if (waits) wait();
  delete process.env.NODE_OPTIONS;
  forget(__filename);
  Module._pathCache = Object.create(null);
}
