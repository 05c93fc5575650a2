package runner

import (
	"regexp"
	"testing"

	"corun/store"
)

// two runs what a test says of a language twice, plainly and in a runtime that waited.
type two struct {
	name  string
	files []File
	args  []string
	// stdin is typed when the program has printed prompt: a terminal shows it where it is
	// typed. "" waits for nothing.
	stdin, prompt string
	entry         string // "" for the first file
}

// places are where things are in memory, which is another place each time.
var places = regexp.MustCompile(`0x[0-9a-f]{6,}|started \d{9,}|@[0-9a-f]{5,8}\b`)

// TestNothingIsSeenOfWaiting holds programs in runtimes that have waited for them against
// the same in a plain box: what they print, to the byte, and how they end.
func TestNothingIsSeenOfWaiting(t *testing.T) {
	many := &Quotas{10000, 10000, 10000}
	plain := testRunner(t, func(c *Config) { c.NoPool, c.Quotas, c.Languages = true, many, nil })
	warm := testRunner(t, func(c *Config) { c.Quotas, c.Languages = many, []string{"python", "javascript", "java"} })
	if warm.image.Usr != "" {
		t.Skip("this image has no runtime that waits")
	}
	for language, programs := range map[string][]two{"python": pythonPrograms, "javascript": nodePrograms, "java": javaPrograms} {
		needs(t, warm, language)
		p, _ := warm.langs.Find(language)
		for _, c := range programs {
			for _, mode := range []string{ModePipes, ModeTerminal} {
				if mode == ModeTerminal && language == "java" && c.name != "what it is" {
					continue // nothing but the streams differs, and each takes seconds
				}
				t.Run(language+" "+c.name+" "+mode, func(t *testing.T) {
					t.Parallel()
					req := Request{Language: language, Mode: mode, Files: c.files, Args: c.args, Entry: c.entry, Cols: 90, Rows: 30}
					if req.Entry == "" {
						req.Entry = c.files[0].Path
					}
					one := func(r *Runner) (store.Run, [4]string) {
						rec := start(t, r, req)
						if c.prompt != "" {
							rec.wait("the prompt", func() bool {
								return contains(rec.streams[store.Stdout], c.prompt) || contains(rec.streams[store.PTY], c.prompt)
							})
						}
						if c.stdin != "" {
							check(t, rec.run.Stdin("ann", []byte(c.stdin)))
						}
						check(t, rec.run.StdinEOF())
						run := rec.end()
						var out [4]string
						for i := range out {
							out[i] = places.ReplaceAllString(rec.output(store.Stream(i)), "somewhere")
						}
						return run, out
					}
					want, wanted := one(plain)
					k := warm.warmKind(p, mode)
					for tries := 0; ; tries++ {
						eventually(t, "a runtime", func() bool { return warm.pools.of(k).Ready > 0 })
						before := warm.pools.of(k).Missed
						got, printed := one(warm)
						if warm.pools.of(k).Missed > before && tries < 20 {
							continue // another test has taken it
						}
						if got.Status != want.Status || code(got) != code(want) || signalOf(got) != signalOf(want) {
							t.Errorf("it ends with %s %d %s, and plainly with %s %d %s", got.Status, code(got), signalOf(got), want.Status, code(want), signalOf(want))
						}
						for i := range printed {
							if printed[i] != wanted[i] {
								t.Errorf("%s is\n%s\nand plainly\n%s", store.Stream(i), printed[i], wanted[i])
							}
						}
						return
					}
				})
			}
		}
	}
}

func code(run store.Run) int {
	if run.ExitCode == nil {
		return -1
	}
	return *run.ExitCode
}

func signalOf(run store.Run) string {
	if run.Signal == nil {
		return ""
	}
	return *run.Signal
}

func py(name, text string) two { return two{name: name, files: []File{{"main.py", text}}} }

var pythonPrograms = []two{
	{name: "what it is", args: []string{"a b", "", "ü"}, files: []File{{"main.py", `
import sys, os
print(__name__, __file__, __spec__, __cached__ if "__cached__" in globals() else None, __builtins__, __doc__, sorted(globals()))
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable, sys.prefix)
print(sorted(sys.modules)); print(sorted(sys.path_importer_cache)); print(sys.modules.get("sitecustomize"), sys.meta_path, sys.path_hooks)
print(sorted(os.environ.items())); print(sorted(os.listdir("/proc/self/fd")), os.getcwd(), os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())
print(sys.stdin, sys.stdout, sys.stderr, sys.stdout.line_buffering, sys.stdout.isatty(), sys.getrecursionlimit())
import __main__; print(__main__ is sys.modules["__main__"], __main__.__dict__ is globals())
import signal; print([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)], signal.pthread_sigmask(signal.SIG_BLOCK, []))
`}}},
	py("traceback", "def f(n):\n    if n == 0:\n        raise ValueError('boom')\n    f(n - 1)\ntry:\n    f(2)\nexcept ValueError as e:\n    import traceback; traceback.print_stack(); traceback.print_exc()\n    raise KeyError('second') from e\n"),
	py("stack", "import inspect, sys\nprint([(s.filename, s.lineno, s.function, s.code_context) for s in inspect.stack()], sys._getframe().f_back)"),
	py("syntax error", "print('never')\nif True\n    pass\n"),
	py("indentation", "def f():\nreturn 1\n"),
	py("recursion", "n = 0\ndef f():\n    global n\n    n += 1\n    f()\ntry:\n    f()\nexcept RecursionError as e:\n    print(n, e)\n"),
	py("exit with a number", "import sys, atexit\natexit.register(print, 'at exit')\nprint('x')\nsys.exit(7)"),
	py("exit with a text", "import sys\nsys.exit('a reason')"),
	py("exit with none", "print('x'); raise SystemExit"),
	py("exit at once", "import os\nprint('lost?', flush=True)\nos._exit(9)"),
	py("interrupted", "import os, signal, atexit\natexit.register(print, 'at exit')\nprint('x')\nos.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(5)"),
	py("terminated", "import os, signal\nprint('x', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)\nimport time; time.sleep(5)"),
	py("handled", "import os, signal\nsignal.signal(signal.SIGTERM, lambda s, f: print('caught', s, f.f_lineno))\nos.kill(os.getpid(), signal.SIGTERM)\nprint('on')"),
	py("threads", "import threading, time\ndef late():\n    time.sleep(.2); print('late', threading.current_thread().name)\nthreading.Thread(target=late).start()\nprint(threading.main_thread(), threading.active_count())"),
	py("thread fails", "import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join(); print('on')"),
	py("processes", "import multiprocessing as m\ndef f(x):\n    return x * x\nif __name__ == '__main__':\n    for how in 'fork', 'spawn':\n        with m.get_context(how).Pool(2) as pool:\n            print(how, pool.map(f, range(4)))\n"),
	py("subprocess", "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'import sys, os; print(sys.argv, sys.path[1:2], sorted(os.environ))'], capture_output=True, text=True))"),
	{name: "input", stdin: "Ada\nGrace\n", prompt: "name? ", files: []File{{"main.py", "import sys\nprint('hi', input('name? '))\nprint(sys.stdin.readline())\ntry:\n    input('more? ')\nexcept EOFError as e:\n    print('end', repr(e))\n"}}},
	{name: "readline", stdin: "Ada\n", prompt: "name? ", files: []File{{"main.py", "import readline\nprint('hi', input('name? '), readline.get_current_history_length())"}}},
	{name: "not read", stdin: "Ada\n", prompt: "x", files: []File{{"main.py", "print('x'); import time; time.sleep(.1)"}}},
	{name: "siblings", files: []File{{"main.py", "import util, pkg.deep\nprint(util, util.x, pkg.deep.__file__, pkg)\nimport broken"}, {"util.py", "x = 1"}, {"pkg/__init__.py", ""}, {"pkg/deep.py", "from . import other"}, {"pkg/other.py", ""}, {"broken.py", "def f():\n    1 / 0\nf()\n"}}},
	{name: "a module of the library's name", files: []File{{"main.py", "import random\nprint(random.x)"}, {"random.py", "x = 'mine'"}}},
	{name: "a sitecustomize of its own", files: []File{{"main.py", "import sys\nprint('x', 'sitecustomize' in sys.modules)"}, {"sitecustomize.py", "print('mine')"}}},
	py("pickle", "import pickle\nclass A: pass\nb = pickle.dumps(A())\nprint(b, pickle.loads(b).__class__)"),
	py("asyncio", "import asyncio\nasync def f():\n    await asyncio.sleep(.01)\n    print('in', asyncio.current_task().get_name())\nasyncio.run(f())"),
	py("warnings", "import warnings\nwarnings.warn('careful')\nprint('\\d')\nimport imp"),
	py("byte order mark", "\ufeffprint('x', __file__)"),
	py("lines of Windows", "x = 1\r\nprint(x)\r\ndef f():\r\n    raise OSError\r\nf()\r\n"),
	py("shebang and coding", "#!/usr/bin/env python3\n# -*- coding: latin-1 -*-\nprint('caf\xe9'.encode())"),
	py("not UTF-8", "print('caf\xe9')\n"),
	py("hash and random", "print(hash(1), hash(None) != 0, len({hash(str(i)) for i in range(100)}))"),
	py("unraisable", "class A:\n    def __del__(self): raise ValueError('in del')\na = A()\ndel a\nprint('on')"),
	py("excepthook", "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[1])\n1 / 0"),
	py("runpy", "import runpy, sys\nprint(sorted(runpy.run_path('main.py', run_name='other'))) if __name__ == '__main__' else print(__name__, sys.argv)"),
	py("closed stdout", "import sys, os\nprint('x', flush=True)\nos.close(1)\nprint('y')"),
	py("descriptors", "import os, resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE), os.open('/dev/null', 0), os.umask(0o22), os.nice(0), os.cpu_count())"),
	py("nothing", ""),
}

func js(name, text string) two { return two{name: name, files: []File{{"main.js", text}}} }

var nodePrograms = []two{
	{name: "what it is", args: []string{"a b", "", "ü"}, files: []File{{"main.js", `
console.log(process.argv, process.execArgv, process.argv0, process.title, process.execPath, process.env, process.cwd());
console.log(require.main === module, module.id, module.paths, module.parent, module.children, Object.keys(require.cache), __filename, __dirname, process._preload_modules, require('module')._pathCache);
console.log(require('fs').readdirSync('/proc/self/fd').length > 0, Object.getOwnPropertyNames(globalThis).sort().join(), process.listenerCount('exit'), process.eventNames());
console.log(process.stdout.isTTY, process.stdout.columns, process.stdout.rows, process.stdin.isTTY, process.stdout.constructor.name, process.stdin.constructor.name);
console.log(process.stdout._events && Object.keys(process.stdout._events), process._getActiveHandles().length, process._getActiveRequests().length, process.memoryUsage().rss > 0);
process.stdin.pause();
`}}},
	{name: "in a folder", files: []File{{"src/app.js", "console.log(require.main === module, process.argv, __filename, require('./util'), new Error('x').stack)"}, {"src/util.js", "module.exports = 1"}}},
	{name: "an ES module", args: []string{"x"}, files: []File{{"main.mjs", "import fs, { readFileSync } from 'node:fs'; import { x } from './other.mjs';\nconsole.log(import.meta.url, process.argv, await x, typeof require, fs.readFileSync === readFileSync);\nconst m = await import('./late.cjs'); console.log(m.default);\nthrow new Error('at the end')"}, {"other.mjs", "export const x = Promise.resolve(5)"}, {"late.cjs", "module.exports = { late: require.main }"}}},
	{name: "a package of modules", files: []File{{"main.js", "import { x } from './other.js'; console.log(x, import.meta.url)"}, {"other.js", "export const x = 1"}, {"package.json", `{"type": "module"}`}}},
	js("an error", "function f() { throw new TypeError('boom', { cause: new Error('why') }) }\nconsole.log('x');\nf()"),
	js("a later error", "setTimeout(function late() { throw new Error('late') }, 10); console.log('x')"),
	js("not an error", "throw { odd: 1 }"),
	js("a rejection", "Promise.reject(new Error('nobody listens')); setTimeout(() => console.log('never'), 100)"),
	js("a rejection of a number", "Promise.reject(3)"),
	js("a syntax error", "console.log('never')\nlet = = 1"),
	js("a missing module", "require('./none')"),
	js("exit code", "process.exitCode = 4; process.on('exit', (c) => console.log('exit', c)); process.on('beforeExit', () => console.log('before'))"),
	js("exit", "console.log('x'); process.exit(5); console.log('never')"),
	js("signals", "process.on('SIGTERM', (s) => { console.log('caught', s); clearInterval(i) }); const i = setInterval(() => {}, 1000); process.kill(process.pid, 'SIGTERM')"),
	js("terminated", "console.log('x'); process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 5000)"),
	js("workers", "const { Worker, isMainThread } = require('worker_threads'); if (isMainThread) { new Worker(__filename, { argv: ['w'] }).on('exit', (c) => console.log('exit', c)) } else console.log('in a worker', process.argv.slice(1), process.execArgv, process.env.NODE_OPTIONS)"),
	js("children", "const { fork, spawnSync } = require('child_process'); if (process.send) { process.send([process.argv.slice(1), process.execArgv, process.env.NODE_OPTIONS]) } else { console.log(spawnSync(process.execPath, ['-p', '[process.execArgv, process.env.NODE_OPTIONS]']).stdout.toString()); fork(__filename, ['c']).on('message', (m) => console.log(m)) }"),
	{name: "stdin", stdin: "Ada\nGrace\n", prompt: "!", files: []File{{"main.js", "console.log('!'); let all = ''; process.stdin.setEncoding('utf8').on('data', (d) => all += d).on('end', () => console.log(JSON.stringify(all)))"}}},
	{name: "readline", stdin: "Ada\n", prompt: "name? ", files: []File{{"main.js", "const r = require('readline').createInterface({ input: process.stdin, output: process.stdout }); r.question('name? ', (n) => { console.log('hi', n); r.close() })"}}},
	{name: "stdin at once", stdin: "Ada\n", prompt: "!", files: []File{{"main.js", "console.log('!'); console.log(require('fs').readFileSync(0, 'utf8').length)"}}},
	js("much output", "for (let i = 0; i < 2000; i++) console.log(i, 'x'.repeat(50)); console.error('end')"),
	js("stack", "function f() { console.log(new Error('here').stack); console.trace('there') } f()"),
	js("warnings", "process.emitWarning('careful'); new Buffer(1); console.log('x')"),
	js("shebang", "#!/usr/bin/env node\nconsole.log('x')"),
	js("nothing", ""),
	js("timers", "const t = []; setTimeout(() => t.push('timeout'), 1); setImmediate(() => t.push('immediate')); process.nextTick(() => t.push('tick')); Promise.resolve().then(() => t.push('promise')); setTimeout(() => console.log(t.sort()), 50)"),
	js("the inner world", "const m = require('module'); console.log(m._findPath.toString().length, m._load.toString().length, m.globalPaths, Object.keys(m).sort().join())"),
	js("console", "console.log('%s %d %j %o', 'a', 1, {b: 2}, [3]); console.table([{a: 1}]); console.error('e'); console.count(); console.group('g'); console.log('in')"),
	js("a plugin", "require.extensions['.txt'] = (m, f) => m._compile('module.exports = 7', f); require('fs').writeFileSync('a.txt', ''); console.log(require('./a.txt'), Object.keys(require.extensions))"),
}

func java(name, body string) two {
	return two{name: name, files: []File{{"Main.java", "import java.util.*;\npublic class Main {\n  public static void main(String[] args) throws Exception {\n" + body + "\n  }\n}\n"}}}
}

var javaPrograms = []two{
	{name: "what it is", args: []string{"a b", "", "ü"}, files: []File{{"Main.java", `
public class Main {
  public static void main(String[] args) throws Exception {
    System.out.println(java.util.Arrays.toString(args) + args.length + Thread.currentThread().getName() + Thread.currentThread().getThreadGroup().getName() + Thread.currentThread().getPriority());
    System.out.println(new java.util.TreeMap<>(System.getenv()) + System.getProperty("user.dir") + Thread.currentThread().isDaemon());
    System.out.println(java.util.Arrays.toString(new Throwable().getStackTrace()) + (Thread.currentThread().getContextClassLoader() == Main.class.getClassLoader()));
    System.out.println(java.util.Arrays.asList(new java.io.File("/proc/self/fd").list()).contains("255") + " " + (System.console() != null) + System.in.available());
  }
}`}}},
	java("an exception", "    int[] a = {1};\n    try { a[1] = 2; } catch (Exception e) { throw new IllegalStateException(\"outer\", e); }"),
	java("exit", "    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println(\"hook\")));\n    System.out.println(\"x\"); System.exit(6);"),
	java("threads", "    Thread t = new Thread(() -> { try { Thread.sleep(200); } catch (Exception e) { } System.out.println(\"late\"); }); t.start(); throw new RuntimeException(\"main ends\");"),
	java("daemons", "    Thread t = new Thread(() -> { while (true); }); t.setDaemon(true); t.start(); System.out.println(\"x\");"),
	java("thread fails", "    Thread t = new Thread(() -> { throw new RuntimeException(\"there\"); }, \"other\"); t.start(); t.join(); System.out.println(\"on\");"),
	java("a handler", "    Thread.setDefaultUncaughtExceptionHandler((t, e) -> System.out.println(t.getName() + e)); throw new Exception(\"x\");"),
	java("deep", "    deep(0);\n  }\n  static void deep(int n) {\n    deep(n + 1);"),
	{name: "input", stdin: "Ada 7\nrest\n", prompt: "name? ", files: []File{{"Main.java", "import java.util.*;\npublic class Main { public static void main(String[] a) { Scanner s = new Scanner(System.in); System.out.print(\"name? \"); System.out.println(s.next() + s.nextInt()); while (s.hasNextLine()) System.out.println(\"[\" + s.nextLine() + \"]\"); } }"}}},
	{name: "does not compile", files: []File{{"Main.java", "public class Main {\n  public static void main(String[] args) {\n    int x = \"text\";\n    undefined();\n  }\n}\n"}}},
	{name: "deprecated", files: []File{{"Main.java", "public class Main { public static void main(String[] a) { System.out.println(new Integer(5)); java.util.List l = new java.util.ArrayList(); l.add(1); } }"}}},
	{name: "several files", files: []File{{"Main.java", "public class Main { public static void main(String[] a) { System.out.println(Other.x() + new lib.Deep().name()); } }"}, {"Other.java", "class Other { static int x() { return 1; } }"}, {"lib/Deep.java", "package lib; public class Deep { public String name() { return getClass() + \"\" + getClass().getPackage(); } }"}}},
	{name: "in a package", entry: "src/app/Start.java", files: []File{{"src/app/Start.java", "package app;\npublic class Start { public static void main(String[] a) throws Exception { System.out.println(new Util().x); System.out.println(new String(Start.class.getResourceAsStream(\"data.txt\").readAllBytes())); throw new Exception(\"x\"); } }"}, {"src/app/Util.java", "package app; class Util { int x = 3; }"}, {"src/app/data.txt", "data"}}},
	{name: "not public, and second", files: []File{{"Main.java", "class First { }\nclass Second { public static void main(String[] a) { System.out.println(\"second\" + Second.class.getName()); } }"}}},
	{name: "no main", files: []File{{"Main.java", "public class Main { void main() { } }"}}},
	{name: "another bad file beside", files: []File{{"Main.java", "public class Main { public static void main(String[] a) { System.out.println(\"x\"); } }"}, {"Bad.java", "class Bad {"}}},
	java("records and switch", "    record P(int x, int y) {}\n    Object o = new P(1, 2);\n    if (o instanceof P p) System.out.println(p + switch (p.x()) { case 1 -> \"one\"; default -> \"?\"; } + \"\"\"\n      text\n      \"\"\");"),
	java("streams", "    System.out.println(List.of(3, 1, 2).stream().sorted().map(String::valueOf).reduce(\"\", String::concat)); System.err.println(\"e\"); System.out.printf(\"%.3f %s%n\", Math.PI, Locale.getDefault());"),
}
