package runner

var preloadedNode = []same{
	{name: "what it is", prints: "main.js", args: []string{"one", "zwei ü", "--x", ""}, text: `
console.log(process.argv, process.execArgv, process.argv0, process.execPath, process.title, __filename, __dirname);
console.log(require.main === module, module.id, module.path, module.paths, module.parent, module.children, module.loaded, module.filename);
console.log(Object.keys(require.cache), require.resolve.paths('x'), Object.keys(require), Object.keys(module.constructor._pathCache));
console.log(process.env, process.mainModule === module, process._preload_modules, process.cwd(), process.exitCode);
console.log(Object.getOwnPropertyNames(globalThis).sort().join(), arguments.length, this === exports);
console.log(require('module').globalPaths, require('module')._extensions, require('module').builtinModules.length, require('module')._findPath.toString().length);
console.log(process.moduleLoadList.filter((m) => m.startsWith('Internal')).length > 0, process.config.variables.node_shared, process.features, process.release.name);
console.log(Object.keys(process).join());
`},
	{name: "handlers that are there", prints: "[", text: `
console.log('[');
console.log(process.eventNames(), process.listenerCount('exit'), process.stdout.eventNames(), process.stderr.eventNames(), process.stdout.listenerCount('error'), process.stdin.eventNames());
console.log(process._getActiveHandles().length, process._getActiveRequests().length, process.getActiveResourcesInfo());
console.log(Error.stackTraceLimit, Error.prepareStackTrace, process.hasUncaughtExceptionCaptureCallback());
console.log(performance.getEntries(), performance.timeOrigin > 1e12, process.uptime() < 100);
console.log(process.umask(), process.getuid(), process.getgid(), process.getgroups(), process.pid, process.ppid);
`},
	{name: "siblings", prints: "helper.js", text: `
const helper = require('./helper');
const { x } = require('./package');
console.log(helper, x, require('./data.json'), module.children.map((m) => m.id), require('./helper') === helper);
console.log(Object.keys(require.cache), helper.parent === module);
try { require('./none'); } catch (e) { console.log(e.code, e.message, e.requireStack, e.stack); }
try { require('none'); } catch (e) { console.log(e.code, e.message, e.requireStack); }
console.log(require('fs').readdirSync('.'));
`, files: []File{{"helper.js", "exports.name = __filename; exports.parent = module.parent; exports.main = require.main.filename;"}, {"package/index.js", "exports.x = require('../helper').name;"}, {"data.json", `{"a": [1]}`}}},
	{name: "node_modules", prints: "found", text: "console.log(require('thing'), require.resolve('thing'));\nimport('thing').then((m) => console.log(m));\n", files: []File{{"node_modules/thing/package.json", `{"main": "lib/a.js"}`}, {"node_modules/thing/lib/a.js", "module.exports = 'found ' + __filename;"}}},
	{name: "a module that requires its main", prints: "early", text: "exports.early = 1;\nrequire('./other');\nexports.late = 2;\n", files: []File{{"other.js", "console.log(require('./main'), require('./main.js') === require.main.exports);"}}},
	{name: "ES module", entry: "start.mjs", prints: "file:///work/start.mjs", args: []string{"a"}, files: []File{{"start.mjs", `
import fs, { readFileSync } from 'node:fs';
import { x } from './other.mjs';
import common from './common.cjs';
console.log(import.meta.url, import.meta, x, common, typeof require, typeof module, this, process.argv, process.mainModule);
const late = await import('./other.mjs');
console.log(late.x === x, late);
await new Promise((r) => setTimeout(r, 1));
console.log(readFileSync(new URL(import.meta.url)).length, await import('./none.mjs').catch((e) => e.code + e.message));
import { createRequire } from 'node:module';
console.log(Object.keys(createRequire(import.meta.url).cache));
throw new Error('at the end');
`}, {"other.mjs", "export const x = import.meta.url;"}, {"common.cjs", "module.exports = { main: require.main, parent: module.parent, children: module.children };"}}},
	{name: "ES module that waits for nothing", entry: "main.mjs", files: []File{{"main.mjs", "await new Promise(() => {});\n"}}},
	{name: "ES module that is wrong", entry: "main.mjs", prints: "SyntaxError", files: []File{{"main.mjs", "import { none } from './other.mjs';\n"}, {"other.mjs", "export const x = 1;"}}},
	{name: "ES module without its file", entry: "main.mjs", prints: "ERR_MODULE_NOT_FOUND", files: []File{{"main.mjs", "import './none.mjs';\n"}}},
	{name: "a package of ES modules", prints: "/main.js", text: "import { x } from './x.js';\nconsole.log(import.meta.url, x, typeof require);\n", files: []File{{"package.json", `{"type": "module"}`}, {"x.js", "export const x = 1;"}}},
	{name: "a package", prints: "pkg", text: "console.log(require('#in'), require('pkg'), module.paths);\n", files: []File{{"package.json", `{"name": "pkg", "imports": {"#in": "./in.js"}, "exports": "./out.js"}`}, {"in.js", "module.exports = 'in';"}, {"out.js", "module.exports = 'pkg';"}}},
	{name: "import in a script", prints: "Cannot use import statement", text: "import fs from 'fs';\nconsole.log(1);\n"},
	{name: "dynamic import", prints: "Module", text: "import('./a.mjs').then((m) => { console.log(m); return import('./none.mjs'); }).catch((e) => console.log(e.code, e.message));\n", files: []File{{"a.mjs", "export default import.meta.url;\n"}}},
	{name: "another entry", entry: "app.js", prints: "/work/app.js", args: []string{"x"}, files: []File{{"app.js", "console.log(process.argv, __filename, require.main.id, require.main.filename, module.paths, Object.keys(require.cache), require('./main.js'));\nnull.x;\n"}, {"main.js", "module.exports = [module.parent?.id, require.main.filename];"}}},
	{name: "an entry that has no sibling of the usual name", entry: "app.js", prints: "MODULE_NOT_FOUND", files: []File{{"app.js", "try { require('./main'); } catch (e) { console.log(e.message); }\nrequire('./main.js');\n"}}},
	{name: "an entry in a folder", entry: "src/deep/app.js", prints: "/work/src/deep", files: []File{{"src/deep/app.js", "console.log(process.argv, __dirname, process.cwd(), module.paths, require('../lib.js'));\nimport('../lib.js').then(console.log);\n"}, {"src/lib.js", "module.exports = __filename;"}}},
	{name: "an entry in a folder, ES module", entry: "src/app.mjs", prints: "/work/src/app.mjs", files: []File{{"src/app.mjs", "import lib from './lib.cjs';\nconsole.log(process.argv, import.meta.url, lib);\n"}, {"src/lib.cjs", "module.exports = __filename;"}}},
	{name: "an entry in a package of ES modules", entry: "src/app.js", prints: "/work/src/app.js", files: []File{{"src/app.js", "console.log(process.argv, import.meta.url);\nawait 1;\n"}, {"src/package.json", `{"type": "module"}`}}},
	{name: "an entry of CommonJS by name", entry: "a.cjs", prints: "/work/a.cjs", files: []File{{"a.cjs", "console.log(process.argv, require.main === module);\n"}, {"package.json", `{"type": "module"}`}}},
	{name: "an error", prints: "TypeError", text: "function f() {\n  g();\n}\nconst g = () => {\n  null.x;\n};\nf();\n"},
	{name: "a stack", prints: "Module._compile", text: "console.log(new Error('here').stack);\nErrorstack = 1;\nsetTimeout(() => console.log(new Error('later').stack));\nPromise.resolve().then(() => console.log(new Error('tick').stack));\nconsole.trace('t');\n"},
	{name: "stacks in full", prints: "node:internal", text: "Error.stackTraceLimit = 100;\nconsole.log(new Error('here').stack);\nError.prepareStackTrace = (e, s) => s.map((c) => [c.getFileName(), c.getLineNumber(), c.getFunctionName()].join());\nconsole.log(new Error().stack);\n"},
	{name: "an error with a cause", prints: "cause", text: "throw new Error('a', { cause: new TypeError('b') });\n"},
	{name: "something thrown", prints: "throw", text: "throw { a: 1 };\n"},
	{name: "text thrown", prints: "text", text: "throw 'text';\n"},
	{name: "a syntax error", prints: "SyntaxError", text: "const x = 1;\nfunction (\n"},
	{name: "a first line for shells", prints: "3:", text: "#!/usr/bin/env node\nconsole.log('x');\nthrow new Error('in line 3');\n"},
	{name: "strict, marks and two bytes", prints: "undefined", text: "\ufeff'use strict';\r\nconsole.log((function () { return this; })());\r\nx = 1;\r\n"},
	{name: "too deep", prints: "RangeError", text: "let n = 0;\nfunction f() { n++; f(); }\ntry { f(); } catch (e) { console.log(e.message, n > 5000); }\nf();\n"},
	{name: "an unhandled rejection", prints: "rejected", text: "Promise.reject(new Error('rejected'));\nsetTimeout(() => console.log('never'), 10);\n"},
	{name: "an unhandled rejection without an error", prints: "ERR_UNHANDLED_REJECTION", text: "Promise.reject(5);\n"},
	{name: "a rejection handled late", prints: "late", text: "process.on('unhandledRejection', (e) => console.log('un', e));\nprocess.on('rejectionHandled', () => console.log('late'));\nconst p = Promise.reject(1);\nsetTimeout(() => p.catch(() => {}), 5);\n"},
	{name: "an exception caught at last", prints: "caught", text: "process.on('uncaughtException', (e, o) => console.log('caught', e.message, o));\nprocess.on('beforeExit', (c) => console.log('before', c));\nprocess.on('exit', (c) => console.log('exit', c));\nsetTimeout(() => { throw new Error('x'); });\n"},
	{name: "exit codes", prints: "exit", text: "process.exitCode = 7;\nprocess.on('exit', (c) => console.log('exit', c));\n"},
	{name: "exit", text: "process.exit(3);\n"},
	{name: "exit while it writes", prints: "xxx", text: "process.stdout.write('x'.repeat(50000) + '\\n');\nprocess.exit(2);\n"},
	{name: "abort", text: "process.abort();\n"},
	{name: "signals", prints: "SIGTERM", text: "process.once('SIGTERM', (s, n) => { console.log(s, n); process.kill(process.pid, 'SIGTERM'); });\nprocess.kill(process.pid, 'SIGTERM');\nsetTimeout(() => {}, 100000);\n"},
	{name: "an interrupt", text: "process.kill(process.pid, 'SIGINT');\nsetTimeout(() => {}, 100000);\n"},
	{name: "order", prints: "1 2 3", text: "setImmediate(() => console.log('immediate'));\nprocess.nextTick(() => console.log('tick'));\nPromise.resolve().then(() => console.log('then'));\nqueueMicrotask(() => console.log('micro'));\nconsole.log('1 2 3');\nconsole.error('e');\n"},
	{name: "workers", prints: "from the worker", args: []string{"a"}, text: `
const { Worker, isMainThread, parentPort, workerData, threadId } = require('worker_threads');
if (isMainThread) {
  const w = new Worker(__filename, { workerData: 5, argv: ['b'] });
  w.on('message', (m) => { console.log(m); w.postMessage('go on'); });
  w.on('error', (e) => console.log('error', e.message));
  w.on('exit', (c) => console.log('exit', c));
} else {
  parentPort.postMessage(['from the worker', workerData, threadId, process.argv, process.execArgv, process.env, require.main, module.parent, Object.keys(require.cache), module.children]);
  parentPort.once('message', () => { throw new Error('in it'); });
}
`},
	{name: "children, forked", prints: "from the child", args: []string{"a"}, text: `
const { fork } = require('child_process');
if (process.argv[2] === 'child') {
  process.send(['from the child', process.argv, process.execArgv, process.env.NODE_OPTIONS, Object.keys(process.env).filter((k) => k !== 'NODE_CHANNEL_FD').sort(), Object.keys(require.cache), require.main === module]);
  process.exitCode = 4;
  process.disconnect();
} else {
  const c = fork(__filename, ['child']);
  c.on('message', (m) => console.log(m));
  c.on('exit', (code, signal) => console.log(code, signal));
}
`},
	{name: "other programs", prints: "of sh", text: `
const { execSync, spawnSync } = require('child_process');
console.log(execSync('echo of sh; env | grep -v ^_= | sort; ls /proc/self/fd | wc -l').toString());
console.log(spawnSync(process.execPath, ['-p', 'process.argv.length + Object.keys(process.env).join()']).stdout.toString());
execSync('echo inherited', { stdio: 'inherit' });
`},
	{name: "open files", prints: "EBADF", text: `
const fs = require('fs');
console.log(fs.openSync('new', 'w') < 40, fs.readlinkSync('/proc/self/cwd'), fs.readFileSync('/proc/self/cmdline', 'latin1').split('\0'), fs.readFileSync('/proc/self/comm', 'latin1'));
try { fs.fstatSync(255); } catch (e) { console.log(e.code); }
console.log(fs.readdirSync('/proc/self/fd').length, fs.readFileSync('/proc/self/status', 'latin1').split('\n').filter((l) => /^(Sig|Shd|Cap|Umask|Threads)/.test(l)));
`},
	{name: "streams", prints: "utf8", text: `
for (const s of [process.stdin, process.stdout, process.stderr]) console.log(s.constructor.name, s.isTTY, s.fd, s.writableHighWaterMark, s.readableHighWaterMark, s.writableLength, s._type, s.columns, s.rows, s.getColorDepth?.(), s.hasColors?.(), s.readableFlowing, s.listenerCount('resize'), s.listenerCount('end'));
console.log('utf8 ü', Buffer.from('ü'), new Intl.DateTimeFormat().resolvedOptions().locale, console._stdout === process.stdout);
console.log(Object.getOwnPropertyNames(process.stdout).sort().join());
console.log({ a: { b: { c: {} } } }, [undefined, null, 1n, Symbol('x')], new Map([[1, 2]]), class A {}, /x/g, new Error('e').message);
`},
	{name: "a terminal of another size", only: ModeTerminal, prints: "91", resize: true, typed: []typed{{"ready", ""}}, text: `
void process.stderr;
process.stdin.resume();
process.stdout.on('resize', () => {
  console.log(process.stdout.columns, process.stdout.rows, process.stdout.getWindowSize());
  process.stdin.pause();
});
process.stdout.write('ready');
`},
	{name: "a terminal's keys", only: ModeTerminal, prints: "<a>", typed: []typed{{"ready", "a"}, {"<a>", "\x03"}}, text: `
process.stdin.setRawMode(true);
process.stdin.on('data', (d) => { process.stdout.write('<' + d + '>'); if (d[0] === 3) process.exit(6); });
process.stdout.write('ready');
`},
	{name: "lines typed", prints: "Hello, Ada!", typed: []typed{{"name? ", "Ada\n"}, {"Ada!", "more\n"}}, eof: true, text: `
const rl = require('readline').createInterface({ input: process.stdin, output: process.stdout });
rl.question('name? ', (n) => {
  process.stdout.write('Hello, ' + n + '!\n');
  rl.on('line', (l) => console.log('line', l));
});
rl.on('close', () => console.log('closed'));
`},
	{name: "all that was typed", only: ModePipes, prints: "3 a", typed: []typed{{"", "a\nb"}}, eof: true, text: "const all = require('fs').readFileSync(0, 'utf8');\nconsole.log(all.length, all);\n"},
	{name: "nothing typed", only: ModePipes, prints: "end", eof: true, text: "process.stdin.on('data', (d) => console.log(d)).on('end', () => console.log('end'));\n"},
	{name: "input as it comes", only: ModePipes, prints: "[ 'a' ]", typed: []typed{{"", "a\n"}}, eof: true, text: "(async () => {\n  const lines = [];\n  for await (const line of require('readline').createInterface({ input: process.stdin })) lines.push(line);\n  console.log(lines);\n})();\n"},
	{name: "not read at all", typed: []typed{{"", "unread\n"}}, only: ModePipes, prints: "over", text: "console.log('over');\n"},
	{name: "tools", prints: "ok", text: `
const vm = require('vm');
console.log(vm.runInNewContext('1 + 1'), eval('__filename'), new Function('return typeof require')());
const { AsyncLocalStorage, executionAsyncId } = require('async_hooks');
console.log(executionAsyncId());
const s = new AsyncLocalStorage();
s.run(1, () => setTimeout(() => console.log(s.getStore())));
require('assert').strictEqual(1, 1);
const Module = require('module');
const load = Module._load;
Module._load = (...a) => { console.log('load', a[0], a[2]); return load(...a); };
require('path');
console.log('ok', require.extensions === Module._extensions);
`},
	{name: "assertions", prints: "AssertionError", text: "require('assert').deepStrictEqual({ a: 1 }, { a: 2 });\n"},
	{name: "what is not there", prints: "ReferenceError", text: "console.log(typeof fetch, typeof structuredClone, typeof crypto, typeof navigator);\nnothing();\n"},
	{name: "a process warning", prints: "Warning", text: "process.emitWarning('careful');\nnew Buffer(1);\n"},
	{name: "the test runner", prints: "# pass 1", only: ModePipes, text: "require('node:test')('a', () => {});\nprocess.on('exit', () => 0);\nconst w = process.stdout.write;\nprocess.stdout.write = function (s, ...r) { return w.call(this, String(s).replace(/duration_ms.*/g, ''), ...r); };\n"},
}

var preloadedTypeScript = []same{
	{name: "what it is", prints: "main.cjs", args: []string{"a", ""}, text: "import { x } from './x';\nenum E { A, B }\nconst n: number = x;\nconsole.log(n, E, process.argv, process.execArgv, process.env, require.main === module, __filename, Object.keys(require.cache));\n", files: []File{{"x.ts", "export const x: number = 4;\n"}}},
	{name: "an error", prints: "main.ts:3", text: "type A = { b: string };\nfunction f(a: A): never {\n  throw new Error(a.b);\n}\nf({ b: 'text' });\n"},
	{name: "a rejection", prints: "main.ts:2", text: "async function f(): Promise<void> {\n  throw new TypeError('later');\n}\nf();\n"},
	{name: "another entry", entry: "src/app.ts", prints: "7", files: []File{{"src/app.ts", "import y from '../y';\nconsole.log(y as number);\nprocess.exit(3);\n"}, {"y.ts", "export default 7;\n"}}},
	{name: "typed", prints: "Hello, Ada", typed: []typed{{"name? ", "Ada\n"}}, text: "import * as readline from 'node:readline';\nconst rl = readline.createInterface({ input: process.stdin, output: process.stdout });\nrl.question('name? ', (n: string) => { console.log('Hello, ' + n); rl.close(); });\n"},
}
