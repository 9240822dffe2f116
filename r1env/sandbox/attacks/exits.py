"""Ends that look like success: a judge that trusts exit codes, or reads an error's text, is beaten by them."""

from r1env.sandbox.attacks.attack import Attack

FAMILY = "exits"

ATTACKS = (
    Attack(
        name="exit-at-import", family=FAMILY, style="calls", quick=True,
        aim="leave with code 0 before the function is called",
        source=r"""
sys.exit(0)
""",
    ),
    Attack(
        name="os-exit-in-call", family=FAMILY, style="calls", quick=True,
        aim="leave with code 0, past every handler, when called",
        source=r"""
def add(a, b):
    os._exit(0)
""",
    ),
    Attack(
        name="exit-in-harness", family=FAMILY, style="harness", quick=True,
        aim="leave with code 0 when the harness calls, so that its asserts never run",
        source=r"""
def add(a, b):
    os._exit(0)
""",
    ),
    Attack(
        name="exit-as-error-in-harness", family=FAMILY, style="harness",
        aim="have the harness raise an error that ends it with code 0",
        source=r"""
def add(a, b):
    raise SystemExit(0)
""",
    ),
    Attack(
        name="error-named-as-a-builtin", family=FAMILY, style="harness",
        aim="an error whose type's name, looked up on the other side, is a function or ends the program",
        source=r"""
names = ["SystemExit", "exit", "quit", "eval", "KeyboardInterrupt", "GeneratorExit", "StopIteration", "print"]
def add(a, b):
    name = names.pop(0) if names else "SystemExit"
    kind = type(name, (Exception,), {"__module__": "builtins", "__qualname__": name})
    raise kind("__import__('os')._exit(0)")
""",
    ),
    Attack(
        name="error-in-the-shape-of-a-result", family=FAMILY, style="calls",
        aim="an error whose text holds lines that a reader may take for values",
        source=r"""
class Done(Exception):
    def __str__(self):
        return "\n".join(['{"value": %d}' % n for n in (3, 6, 777777)] + ['{"done": true}'])
    __repr__ = __str__
def add(a, b):
    raise Done()
""",
    ),
    Attack(
        name="error-that-exits-when-read", family=FAMILY, style="calls", quick=True,
        aim="an error whose text, name and traceback end the process as soon as anybody formats them",
        source=r"""
class Meta(type):
    def __getattribute__(self, name):
        if name in ("__name__", "__qualname__", "__module__"):
            os._exit(0)
        return type.__getattribute__(self, name)
class Bomb(Exception, metaclass=Meta):
    def __str__(self): os._exit(0)
    def __repr__(self): os._exit(0)
    @property
    def args(self): os._exit(0)
    @property
    def __traceback__(self): os._exit(0)
def add(a, b):
    raise Bomb("x")
""",
    ),
    Attack(
        name="error-of-no-end", family=FAMILY, style="calls",
        aim="an error with a text of 200 MB, in surrogates and control characters",
        source=r"""
class Long(Exception):
    def __str__(self):
        return "\ud800\x00\x1b\u2028\n" * 40_000_000
def add(a, b):
    raise Long()
""",
    ),
    Attack(
        name="errors-without-exception", family=FAMILY, style="calls",
        aim="a BaseException, an ExceptionGroup in itself and a cyclic cause, for handlers that expect an Exception",
        source=r"""
class Base(BaseException): pass
def add(a, b):
    error = Base("base")
    if a == 1:
        raise error
    if a == 10:
        error.__cause__ = error.__context__ = error
        raise error
    deep = ValueError("deep")
    for _ in range(3000):
        outer = ValueError("deep")
        outer.__cause__ = deep
        deep = outer
    raise deep
""",
    ),
    Attack(
        name="exit-code-object", family=FAMILY,
        aim="an exit code that is an object which calls itself 0, and prints as text of its own",
        source=r"""
class Zero(int):
    def __index__(self): return 0
    def __str__(self): return "0" * 1000
    __repr__ = __str__
    def __eq__(self, other): return True
    __hash__ = int.__hash__
raise SystemExit(Zero(1))
""",
    ),
    Attack(
        name="atexit-turns-failure-to-success", family=FAMILY, style="calls",
        aim="fail, and turn the exit code to 0 at the last moment",
        source=r"""
import atexit
atexit.register(os._exit, 0)
sys.excepthook = lambda *_: os._exit(0)
sys.unraisablehook = lambda *_: os._exit(0)
def add(a, b):
    raise RuntimeError("never mind")
""",
    ),
    Attack(
        name="exit-from-a-thread", family=FAMILY, style="calls",
        aim="leave with code 0 from another thread, in the midst of the runner's own code",
        source=r"""
import threading
def add(a, b):
    threading.Thread(target=lambda: os._exit(0), daemon=True).start()
    return 0
""",
    ),
    Attack(
        name="errors-from-a-timer", family=FAMILY, style="calls",
        aim="a signal handler that raises inside the runner between two calls",
        source=r"""
import signal
def ring(number, frame):
    raise SystemExit(0)
signal.signal(signal.SIGALRM, ring)
def add(a, b):
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    return 0
""",
    ),
    Attack(
        name="stop-yourself", family=FAMILY,
        aim="stop instead of ending: a supervisor that waits for an end waits for ever",
        source=r"""
import signal
os.kill(os.getpid(), signal.SIGSTOP)
os.kill(0, signal.SIGSTOP)
""",
    ),
    Attack(
        name="die-by-every-signal", family=FAMILY, style="calls",
        aim="a death that a supervisor may take for its own kill, for a time limit or for a memory limit",
        source=r"""
import signal
def add(a, b):
    number = {1: signal.SIGXCPU, 10: signal.SIGSYS}.get(a, signal.SIGKILL)
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
    return 0
""",
    ),
    Attack(
        name="farewell-of-a-destructor", family=FAMILY, style="calls",
        aim="results written while the interpreter shuts down, after all is counted",
        source=r"""
class Last:
    def __del__(self, write=os.write):
        for fd in range(3, 64):
            try: write(fd, b'{"value": 3}\n{"value": 6}\n{"value": 777777}\n')
            except OSError: pass
sys.last = Last()
def add(a, b):
    return None
""",
    ),
    Attack(
        name="quick-exit", family=FAMILY, language="cpp",
        aim="quick_exit, _Exit from a signal handler and abort at exit: code 0 without an answer",
        source=r"""
static void leave(int) { _Exit(0); }
static void at_exit() { signal(SIGABRT, leave); abort(); }
int main() { atexit(at_exit); at_quick_exit([] { _Exit(0); }); if (getpid() % 2) quick_exit(0); return 1; }
""",
    ),
    Attack(
        name="exit-in-a-static-constructor", family=FAMILY, language="cpp",
        aim="be gone before main",
        source=r"""
struct Early { Early() { _exit(0); } } early;
int main() { return 1; }
""",
    ),
    Attack(
        name="throw-in-a-destructor", family=FAMILY, language="cpp",
        aim="terminate by exceptions whose text is hostile, with a handler that leaves with code 0",
        source=r"""
#include <exception>
struct Hostile : std::exception { const char* what() const noexcept override { _exit(0); } };
struct Late { ~Late() noexcept(false) { throw Hostile(); } };
int main() { std::set_terminate([] { _exit(0); }); Late late; throw Hostile(); }
""",
    ),
)  # fmt: skip
