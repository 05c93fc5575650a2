package runner

var preloadedPython = []same{
	{name: "what it is", prints: "__main__", args: []string{"one", "zwei ü", ""}, text: `
import sys, os
print(__name__, __file__, __spec__, __builtins__, __loader__.__class__, __package__, __doc__, __annotations__ if "__annotations__" in globals() else None)
print(sorted(globals()), sorted(vars()))
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable, sys.prefix, sys.base_prefix)
print(sorted(k for k in sys.modules if k not in ("site",)))
print(list(sys.modules)[:40])
print(sorted(sys.path_importer_cache), sys.path_hooks, sys.meta_path)
print(sys.warnoptions, sys._xoptions, sys.dont_write_bytecode, sys.getrecursionlimit(), sys.getswitchinterval(), sys.hash_info, sys.pycache_prefix)
print(dict(os.environ))
print({k: v for k, v in os.environb.items()})
print(sys.displayhook, sys.excepthook, sys.breakpointhook, sys.gettrace(), sys.getprofile())
print(hasattr(sys, "ps1"), hasattr(sys, "last_value"), sys.exc_info())
`},
	{name: "itself imported", prints: "True", text: `
import __main__, sys, builtins
x = 5
print(__main__.x, __main__ is sys.modules["__main__"], vars(__main__) is globals(), __builtins__ is builtins)
import importlib
print(importlib.util.find_spec("nothing") if hasattr(importlib, "util") else "no util")
import main
`},
	{name: "pickle", prints: "True", text: `
import pickle
class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x
data = pickle.dumps([Point(1), Point])
print(data)
print(pickle.loads(data)[0] == Point(1), Point, Point.__module__, Point.__qualname__)
`},
	{name: "siblings", prints: "helper of main", text: `
import sys, helper, package.inner, package
print(helper.who, helper.__file__, helper.__cached__, package.__path__, package.inner.x)
from package import inner
print(sorted(m for m in sys.modules if "helper" in m or "package" in m))
import os
print(sorted(os.listdir()), os.getcwd())
`, files: []File{{"helper.py", "import __main__\nwho = 'helper of ' + __main__.__file__.split('/')[-1].split('.')[0]\n"}, {"package/__init__.py", ""}, {"package/inner.py", "from . import other\nx = other.x\n"}, {"package/other.py", "x = 7\n"}}},
	{name: "a module named as ours", prints: "main ", text: `
import sys
print("main", "sitecustomize" in sys.modules)
try:
    import sitecustomize
    print(sitecustomize.__file__, sitecustomize.value)
except ImportError as e:
    print(e)
try:
    import usercustomize
except ImportError as e:
    print(e, e.name, e.path)
`, files: []File{{"sitecustomize.py", "print('imported:', __name__)\nvalue = 4\n"}}},
	{name: "standard modules shadowed", prints: "mine", text: "import random, string, json\nprint(random.x, string.x, json.__file__)\nimport os, io, abc\nprint(os.__file__, io.__file__)\n", files: []File{{"random.py", "x = 'mine'\n"}, {"string.py", "x = 'mine'\n"}, {"os.py", "x = 'mine'\n"}, {"abc.py", "1/0"}}},
	{name: "a traceback", prints: "ZeroDivisionError", text: `
import helper
def inner(n):
    if n: return inner(n - 1)
    return helper.divide(1, 0)
def outer():
    try:
        inner(3)
    except ZeroDivisionError as e:
        raise ValueError("chained") from e
try:
    outer()
except ValueError:
    {}["key"]
`, files: []File{{"helper.py", "def divide(a, b):\n    return a / b\n"}}},
	{name: "a group of exceptions", prints: "ExceptionGroup", text: "raise ExceptionGroup('several', [ValueError(1), TypeError('a'), OSError(2, 'gone', 'file')])\n"},
	{name: "deep recursion", prints: "RecursionError", text: `
import sys
depth = 0
def f():
    global depth
    depth += 1
    f()
try:
    f()
except RecursionError as e:
    print(depth, e)
f()
`},
	{name: "frames", prints: "<module>", text: `
import sys, inspect, traceback
f = sys._getframe()
print(f.f_code.co_name, f.f_code.co_filename, f.f_back, f.f_lineno, f.f_globals is globals(), f.f_locals is locals())
print([(s.filename, s.lineno, s.function) for s in inspect.stack()])
traceback.print_stack()
`},
	{name: "a syntax error", prints: "SyntaxError", text: "x = 1\ndef f(:\n    pass\n"},
	{name: "a wrong indent", prints: "IndentationError", text: "if True:\nprint(1)\n"},
	{name: "tabs and spaces", prints: "TabError", text: "if True:\n        x = 1\n\tx = 2\n"},
	{name: "a syntax error elsewhere", prints: "SyntaxError", text: "import helper\n", files: []File{{"helper.py", "(\n"}}},
	{name: "a warning of the compiler", prints: "SyntaxWarning", text: "x = 1\nif x is 1: print('is')\nprint('\\d')\n"},
	{name: "a zero byte", prints: "1", text: "print(1)\x00\n"},
	{name: "a mark of the order of bytes", prints: "ü", text: "\ufeffprint('ü', __file__)\n1/0\n"},
	{name: "lines that end in two bytes", prints: "ab", text: "# x\r\nprint('a' +\r\n'b', repr('''c\r\nd'''))\r\n1/0\r\n"},
	{name: "first lines", prints: "ü", text: "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\nfrom __future__ import annotations\nprint('ü', __annotations__)\n1/0\n"},
	{name: "an unknown encoding", prints: "encoding", text: "# -*- coding: nonsense -*-\nprint(1)\n"},
	{name: "another encoding", prints: "Ã", text: "# -*- coding: latin-1 -*-\nprint('ü')\n1/0\n"},
	{name: "an empty file", text: "\n"},
	{name: "no line's end", prints: "1", text: "print(1)"},
	{name: "its text", prints: "def f", text: "import inspect\ndef f():\n    return 1\nprint(inspect.getsource(f), inspect.getfile(f), open(__file__).read())\n"},
	{name: "exit 3", text: "import sys; sys.exit(3)"},
	{name: "exit with text", prints: "text ü", text: "import sys; sys.exit('text ü')"},
	{name: "exit with nothing", text: "import sys; sys.exit(None)"},
	{name: "exit with a large number", text: "import sys; sys.exit(2**70 + 5)"},
	{name: "exit with less than nothing", text: "import sys; sys.exit(-2)"},
	{name: "exit with a tuple", prints: "(1, 2)", text: "import sys; sys.exit((1, 2))"},
	{name: "exit by name", prints: "Quitter", text: "print(exit.__class__, repr(exit), copyright.__class__, repr(help), quit)\nexit(4)"},
	{name: "exit at once", prints: "seen", text: "import os, sys\nsys.stdout.write('seen')\nsys.stdout.flush()\nos._exit(9)"},
	{name: "abort", text: "import os; os.abort()"},
	{name: "an interrupt", prints: "KeyboardInterrupt", text: "import os, signal\nprint(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGXFSZ))\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n"},
	{name: "an interrupt caught", prints: "caught", text: "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    while True: pass\nexcept KeyboardInterrupt as e:\n    print('caught', repr(e))\n"},
	{name: "a termination", text: "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nwhile True: pass\n"},
	{name: "signals that are kept back", prints: "set()", text: "import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []), [(s, signal.getsignal(s)) for s in signal.valid_signals()], signal.set_wakeup_fd(-1))\n"},
	{name: "a broken fault", prints: "Segmentation", text: "import faulthandler, os, signal, ctypes\nprint(faulthandler.is_enabled())\nfaulthandler.enable()\nos.kill(os.getpid(), signal.SIGSEGV)\n"},
	{name: "at exit", prints: "last\n", only: ModePipes, text: `
import atexit, threading
atexit.register(print, "last")
atexit.register(print, "first")
print(atexit._ncallbacks())
class Thing:
    def __del__(self): print("gone")
thing = Thing()
threading._register_atexit(print, "threads")
`},
	{name: "threads", prints: "later", text: `
import threading, time, _thread
print(threading.current_thread().name, threading.main_thread() is threading.current_thread(), threading.active_count(), len(threading.enumerate()), _thread._count())
done = threading.Event()
def work():
    done.wait()
    print("later", threading.current_thread().name)
threading.Thread(target=work).start()
threading.Thread(target=lambda: time.sleep(100), daemon=True).start()
def fail():
    1/0
t = threading.Thread(target=fail, name="failing"); t.start(); t.join()
print("main is over")
done.set()
`},
	{name: "processes, forked", prints: "[0, 1, 4]", text: `
import multiprocessing
def square(x): return x * x
if __name__ == "__main__":
    print(multiprocessing.get_start_method())
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, range(3)))
    q = multiprocessing.Queue()
    p = multiprocessing.Process(target=q.put, args=(__name__,)); p.start(); print(q.get()); p.join(); print(p.exitcode)
`},
	{name: "processes, spawned", prints: "[0, 1, 4]", args: []string{"a"}, text: `
import multiprocessing, sys, os
def square(x): return x * x
def tell(q): q.put((__name__, sys.argv, sys.path, "PYTHONPATH" in os.environ, sorted(os.environ), "sitecustomize" in sys.modules))
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        print(pool.map(square, range(3)))
    q = context.Queue()
    p = context.Process(target=tell, args=(q,)); p.start(); print(q.get()); p.join(); print(p.exitcode)
`},
	{name: "a fork", prints: "child", text: `
import os, sys
pid = os.fork()
if pid == 0:
    print("child", flush=True)
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`},
	{name: "other programs", prints: "of sh", text: `
import subprocess, sys, os
print(subprocess.run(["sh", "-c", "echo of sh; env | grep -v ^_= | sort; ls /proc/self/fd | wc -l"], capture_output=True, text=True))
print(subprocess.check_output([sys.executable, "-c", "import sys, os; print(sys.path, sys.argv, dict(os.environ), sorted(sys.modules))"], text=True))
os.system("echo shell")
sys.stdout.flush()
os.execv(sys.executable, [sys.executable, "-c", "import sys; print(sys.argv, sys.orig_argv)", "x"])
`},
	{name: "what was typed", prints: "EOFError", typed: []typed{{"one? ", "Ada\n"}, {"two? ", "Zoë\n"}}, eof: true, text: `
print(repr(input("one? ")))
print(repr(input("two? ")))
input("three? ")
`},
	{name: "all that was typed", prints: "['a", only: ModePipes, typed: []typed{{"", "a\r\nb\nc"}}, eof: true, text: "import sys\nprint(sys.stdin.readlines(), sys.stdin.read(), sys.stdin.buffer.read())\n"},
	{name: "lines typed", prints: "got 'x\\n'", typed: []typed{{"ready", "x\n"}, {"got 'x", "y\n"}}, eof: true, text: "import sys\nsys.stdout.write('ready\\n')\nfor line in sys.stdin:\n    sys.stdout.write(f'got {line!r}\\n')\nprint('end')\n"},
	{name: "the readline module", prints: "'Ada'", typed: []typed{{"name? ", "Ada\n"}}, text: "import readline\nprint(readline.get_history_length(), readline.get_current_history_length())\nprint(repr(input('name? ')), readline.get_current_history_length())\n"},
	{name: "streams", prints: "utf-8", text: `
import sys, io, os
for s in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__):
    print(s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.write_through, s.isatty(), s.fileno(), type(s.buffer), getattr(s.buffer, "raw", None).__class__)
print(io.text_encoding(None), sys.getfilesystemencoding(), sys.getdefaultencoding(), io.DEFAULT_BUFFER_SIZE, sys.flags.unbuffered)
import locale
print(locale.getlocale(), locale.getpreferredencoding(), locale.setlocale(locale.LC_ALL))
`},
	{name: "order of streams", prints: "c", text: "import sys, os\nprint('a', end='')\nos.write(1, b'b')\nsys.stderr.write('c')\nprint('d')\nos.write(2, b'e')\n"},
	{name: "not in UTF-8", prints: "\\udcff", text: "import sys\nprint(ascii('\\udcff'))\nsys.stdout.buffer.write(b'\\xff')\nprint('\\udcff')\n"},
	{name: "open files", prints: "['0', '1', '2'", text: `
import os, resource
print(sorted(os.listdir("/proc/self/fd")), [os.get_inheritable(f) for f in (0, 1, 2)])
print(open("/proc/self/cmdline").read().split("\0"), open("/proc/self/comm").read(), os.readlink("/proc/self/cwd"), os.readlink("/proc/self/exe"))
print([resource.getrlimit(getattr(resource, n)) for n in sorted(dir(resource)) if n.startswith("RLIMIT_")])
print(os.getpriority(os.PRIO_PROCESS, 0), os.umask(0o22), os.getuid(), os.getgid(), os.getgroups(), os.getpid(), os.getppid(), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), os.sched_getaffinity(0).__class__)
print([l for l in open("/proc/self/status") if l.startswith(("Sig", "Shd", "Cap", "NoNew", "Seccomp:", "Threads", "TracerPid", "Umask"))])
try:
    os.fstat(255)
except OSError as e:
    print(e)
f = open("x", "w"); print(f.fileno())
`},
	{name: "asyncio", prints: "[0, 1, 2]", text: `
import asyncio
async def f(x):
    await asyncio.sleep(0.001 * x)
    return x
async def main():
    print(await asyncio.gather(*map(f, range(3))))
    p = await asyncio.create_subprocess_exec("echo", "sub", stdout=asyncio.subprocess.PIPE)
    print(await p.communicate())
    asyncio.create_task(f(100))
asyncio.run(main())
async def never(): pass
never()
`},
	{name: "the terminal", prints: "33", only: ModeTerminal, resize: true, typed: []typed{{"ready", "\n"}}, text: `
import os, sys, termios, shutil
input("ready")
print(os.get_terminal_size(), shutil.get_terminal_size(), os.ttyname(0), os.isatty(1), termios.tcgetattr(0)[:4], os.tcgetpgrp(0) == os.getpgid(0))
`},
	{name: "an interactive end", prints: "__main__", text: `
import code, sys
i = code.InteractiveConsole(globals())
i.runsource("print(__name__)")
exec("print(__name__)")
print(eval("__file__"), compile("1", "a", "eval"))
`},
	{name: "modules that look around", prints: "running", text: `
import runpy, unittest, doctest, dataclasses, typing, enum, logging
@dataclasses.dataclass
class A:
    x: int = 1
class E(enum.Enum):
    A = 1
print(A(), E.A, typing.get_type_hints(A))
logging.warning("running")
def double(x):
    """
    >>> double(2)
    5
    """
    return 2 * x
doctest.testmod()
class T(unittest.TestCase):
    def test_a(self): self.assertEqual(1, 1)
print(unittest.TestProgram(argv=["x"], exit=False, verbosity=0, testRunner=unittest.TextTestRunner(stream=open("/dev/null", "w"))).result)
print(runpy.run_path("other.py", run_name="__main__")["who"])
`, files: []File{{"other.py", "who = __name__ + __file__\n"}}},
	{name: "garbage", prints: "(", text: "import gc, sys, tracemalloc\nprint(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks, gc.garbage, gc.get_freeze_count(), tracemalloc.is_tracing(), sys.getallocatedblocks() > 0)\nprint([type(o) for o in gc.get_objects() if type(o).__module__ == '__main__'])\nprint([o.__name__ for o in gc.get_objects() if getattr(type(o), '__name__', '') == 'function' and 'corun' in o.__code__.co_filename])\n"},
	{name: "the module's file", prints: "main.py", text: `
import os, sys, time
print(os.stat(__file__).st_size, oct(os.stat(__file__).st_mode), os.path.abspath(__file__), os.path.exists("__pycache__"))
`},
	{name: "regular expressions", prints: "b", text: "import re, copyreg\nprint(re.findall('b', 'abc'), re._cache.__class__, len(re._cache), sorted(copyreg.dispatch_table, key=str))\n"},
	{name: "types that were made", prints: "[", text: "print([c.__name__ for c in object.__subclasses__()][-20:], len(object.__subclasses__()))\nprint(sorted(c.__name__ for c in BaseException.__subclasses__()))\n"},
	{name: "warnings", prints: "DeprecationWarning", text: "import warnings\nprint(warnings.filters)\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('plain')\nopen('/dev/null')\n"},
	{name: "a generator at the end", prints: "closed", text: "def g():\n    try:\n        yield 1\n    finally:\n        print('closed')\nx = g()\nnext(x)\n"},
	{name: "audited", prints: "open", text: "import sys\nseen = []\nsys.addaudithook(lambda e, a: seen.append(e))\nopen('/dev/null').close()\nprint(seen)\n"},
}
