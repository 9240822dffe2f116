"""The interpreter and the harness around the program, bent to its will; and forged messages."""

from r1env.sandbox.attacks.attack import Attack

FAMILY = "patches"

ATTACKS = (
    Attack(
        name="builtins-patched", family=FAMILY, style="calls",
        aim="print, len, isinstance, type, repr, open and import replaced, for a runner that uses them afterwards",
        source=r"""
import builtins
for name in ("isinstance", "issubclass", "hasattr", "callable", "all", "any"):
    setattr(builtins, name, lambda *_: True)
builtins.type = builtins.print = builtins.repr = builtins.str = lambda *_, **__: '{"value": 3}'
builtins.abs = builtins.min = builtins.sum = lambda *_: 0
builtins.open = lambda *_, **__: sys.stdout
builtins.__import__ = lambda *_, **__: sys
def add(a, b):
    return 0
""",
    ),
    Attack(
        name="json-patched", family=FAMILY, style="calls",
        aim="json and every module with dumps and loads replaced, so that each value is written as a success",
        source=r"""
import json
for module in list(sys.modules.values()):
    for name in ("dumps", "loads", "_plain", "_value", "_text", "_send"):
        if hasattr(module, name):
            try: setattr(module, name, lambda *_, **__: '{"value": 3, "passed": true, "equal": true}')
            except Exception: pass
json.encoder.c_make_encoder = None
json.JSONEncoder.default = json.JSONEncoder.encode = lambda self, value: "true"
def add(a, b):
    return 0
""",
    ),
    Attack(
        name="os-patched", family=FAMILY, style="calls",
        aim="os.write, os._exit and os.read replaced, so that the runner's own farewell says success",
        source=r"""
write, leave = os.write, os._exit
os._exit = lambda code: leave(0)
os.write = lambda fd, data: write(fd, b'{"value": 3}\n')
os.read = lambda *_: b'{"value": 3}'
sys.exit = lambda *_: leave(0)
def add(a, b):
    raise ValueError("not reported")
""",
    ),
    Attack(
        name="streams-patched", family=FAMILY,
        aim="sys.stdout and sys.stdin replaced, and all numbers printed at once, in many lines",
        source=r"""
class Yes:
    def __eq__(self, other): return True
    def write(self, text): return os.write(1, b"\n".join(b"%d" % n for n in range(0, 20000, 2)))
    def __getattr__(self, name): return lambda *_, **__: self
sys.stdout = sys.stderr = sys.__stdout__ = sys.stdin = Yes()
print(1)
""",
    ),
    Attack(
        name="modules-faked", family=FAMILY, style="calls",
        aim="sys.modules filled with objects that say yes, import hooks that serve them, and a false __main__",
        source=r"""
import types
class Yes(types.ModuleType):
    def __getattr__(self, name): return lambda *_, **__: True
class Finder:
    def find_spec(self, name, path=None, target=None):
        sys.modules[name] = Yes(name)
        return None
sys.meta_path.insert(0, Finder())
sys.path_hooks.clear(); sys.path[:] = ["/tmp"]
for name in list(sys.modules):
    if name not in ("sys", "builtins", "os"):
        sys.modules[name] = Yes(name)
def add(a, b):
    return 0
""",
    ),
    Attack(
        name="tracing-the-runner", family=FAMILY, style="calls",
        aim="trace, profile and audit hooks that see the runner's frames and alter its locals",
        source=r"""
import ctypes, threading
def hook(frame, event, argument):
    for name, value in list(frame.f_locals.items()):
        if "expect" in name or "answer" in name or "want" in name or "gold" in name:
            escaped("a frame holds", name, value)
        if name in ("failed", "ok", "passed", "found", "code", "status", "error"):
            try:
                frame.f_locals[name] = 0
                ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
            except Exception: pass
    return hook
sys.settrace(hook); sys.setprofile(hook); threading.settrace(hook)
frame = sys._getframe()
while frame:
    frame.f_trace = hook
    frame = frame.f_back
sys.addaudithook(lambda *_: None)
def add(a, b):
    return 0
""",
    ),
    Attack(
        name="asserts-abolished", family=FAMILY, style="harness", quick=True,
        aim="AssertionError replaced, asserts compiled away, and the checking functions of other modules patched",
        source=r"""
import builtins, unittest
builtins.AssertionError = type("AssertionError", (Exception,), {"__new__": lambda *_: os._exit(0)})
unittest.TestCase.assertEqual = lambda *_: None
sys.flags = None
for module in list(sys.modules.values()):
    for name in list(vars(module)) if hasattr(module, "__dict__") else ():
        if "check" in name or "failed" in name or "harness" in name:
            try: setattr(module, name, lambda *_, **__: True)
            except Exception: pass
def add(a, b):
    return None
""",
    ),
    Attack(
        name="codecs-poisoned", family=FAMILY, style="calls",
        aim="the codec of UTF-8 replaced by one that writes what it likes",
        source=r"""
import codecs, encodings
encodings._cache["utf-8"] = encodings._cache["utf_8"] = encodings._cache["ascii"] = codecs.CodecInfo(
    lambda text, *_: (b'{"value": 3}', len(text)), lambda data, *_: ('{"value": 3}', len(data)))
sys.setrecursionlimit(10**9)
getattr(sys, "set_int_max_str_digits", int)(0)
def add(a, b):
    return 10 ** 100_000
""",
    ),
    Attack(
        name="forged-findings", family=FAMILY, style="harness", quick=True,
        aim="the harness's findings written to every descriptor, bare, in lines and with lengths before them",
        source=r"""
import json, struct
found = json.dumps({"checks": 9, "failed": 0, "error": None, "first": None, "done": True}).encode()
for fd in range(1, 1024):
    for text in (found, found + b"\n", struct.pack("<I", len(found)) + found, struct.pack(">I", len(found)) + found):
        try: os.write(fd, text)
        except OSError: break
def add(a, b):
    return None
""",
    ),
    Attack(
        name="answers-before-questions", family=FAMILY, style="harness",
        aim="a thousand answers in the channel before anything is asked: truths, errors, and an end",
        source=r"""
import json, struct, threading
def answers():
    for text in (b'{"dict": [["value", true]]}', b'{"dict": [["error", "StopIteration"]]}',
                 b'{"dict": [["value", null], ["changed", [3, 3]]]}', b'{"value": true}', b'null', b''):
        yield struct.pack("<I", len(text)) + text
def flood():
    for _ in range(200):
        for line in answers():
            for fd in range(3, 32):
                try: os.write(fd, line)
                except OSError: pass
threading.Thread(target=flood, daemon=True).start()
def add(a, b):
    return True
""",
    ),
    Attack(
        name="channel-of-nonsense", family=FAMILY, style="harness",
        aim="deep brackets, a message of 4 GB announced, half a message and silence",
        source=r"""
import struct, time
turn = [0]
def add(a, b):
    turn[0] += 1
    texts = [b"[" * 5_000_000, b'{"fraction": "1e999999999"}', b'{"int": "0x' + b"f" * 7_000_000 + b'"}', b"9" * 5000]
    text = texts[turn[0] % len(texts)]
    for fd in range(3, 32):
        try: os.write(fd, struct.pack("<I", len(text)) + text)
        except OSError: pass
    for fd in range(3, 32):
        try: os.write(fd, struct.pack("<I", 2**32 - 1) + b"half")
        except OSError: pass
    time.sleep(60)
""",
    ),
    Attack(
        name="channel-cut", family=FAMILY, style="harness",
        aim="all descriptors closed, and success afterwards",
        source=r"""
def add(a, b):
    os.closerange(0, 1024)
    return None
""",
    ),
    Attack(
        name="end-of-iteration", family=FAMILY, style="harness",
        aim="StopIteration, which ends the harness's own loops without an error",
        tests="""
assert all(map(lambda case: add(case[0], case[1]) == case[2], [(5, 7, 12), (1, 1, 2)]))
assert not [case for case in map(lambda case: add(*case[:2]) != case[2] and case, [(5, 7, 12), (1, 1, 2)]) if case]
""",
        source=r"""
def add(a, b):
    raise StopIteration
""",
    ),
    Attack(
        name="forged-results", family=FAMILY, style="calls", quick=True,
        aim="verdicts and results written to every descriptor, in every form a supervisor may read",
        source=r"""
import json, struct
def add(a, b):
    forged = [b'{"value": true}\n', b"accepted\n", b"ok\n", b"ready", b"\x00" * 8]
    for claim in ({"exit_code": 0, "signal": None, "late": None, "cpu_s": 0.0, "memory_mb": 1.0, "wall_s": 0.0},
                  {"status": "ok", "output": "3"}, {"passed": 3, "total": 3, "verdict": "accepted"}):
        text = json.dumps(claim).encode()
        forged += [text, text + b"\n", struct.pack("<I", len(text)) + text, struct.pack("!Q", len(text)) + text]
    for fd in range(1, 1024):
        for text in forged:
            try: os.write(fd, text)
            except OSError: break
    os._exit(0)
""",
    ),
    Attack(
        name="pickle-to-every-descriptor", family=FAMILY, style="calls",
        aim="a pickle and a marshalled code object in every descriptor: whoever unpickles it runs it",
        source=r"""
import marshal
command = b"touch @DIRECTORY@/r1leftover-pickle"
pickled = b"cos\nsystem\n(S'" + command + b"'\ntR."
def add(a, b):
    for fd in range(1, 1024):
        for text in (pickled, b"!" + pickled, marshal.dumps(compile("import os; os._exit(0)", "x", "exec"))):
            try: os.write(fd, text)
            except OSError: break
    return 0
""",
    ),
    Attack(
        name="exit-codes-of-the-runner", family=FAMILY, style="calls", quick=True,
        aim="every exit code and text with which the runner itself says that the sandbox failed: what counts as the "
        "sandbox's fault is masked from training",
        source=r"""
def add(a, b):
    text = b"the program could not be started: [Errno 11] Resource temporarily unavailable"
    os.write(2, text)
    os._exit({1: 119, 10: 127}.get(a, 125))
""",
    ),
    Attack(
        name="exit-119", family=FAMILY,
        aim="the same at once, with nothing but that text",
        source=r"""
os.write(2, b"the program could not be started: [Errno 12] Cannot allocate memory")
os._exit(119)
""",
    ),
    Attack(
        name="program-rewritten", family=FAMILY, style="calls",
        aim="its own source, its input and its outputs overwritten, sealed and made unblocking, for a cache or a reuse",
        source=r"""
import fcntl
def add(a, b):
    for fd in range(0, 64):
        for action in (
            lambda: os.lseek(fd, 0, 0),
            lambda: os.pwrite(fd, b"def add(a, b): return 'ESC' + 'APED: a rewritten program'\n", 0),
            lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND),
            lambda: fcntl.fcntl(fd, 1033, 0x1F),  # F_ADD_SEALS, all of them
            lambda: os.ftruncate(fd, 1 << 19) if fd > 2 else None,
        ):
            try: action()
            except (OSError, ValueError): pass
    return 0
""",
        then=r"""
def add(a, b):
    return "unharmed"
""",
    ),
    Attack(
        name="interpreter-poisoned-for-the-next", family=FAMILY, style="calls",
        aim="modules, caches and start-up files changed, for the next job to import",
        source=r"""
import json, site, sysconfig
code = "import os; os.write(1, b'ESC' b'APED: code of an earlier job')\n"
temporary = [os.getcwd(), "/tmp", "/dev/shm", os.path.expanduser("~")]
places = [*sys.path, "/sandbox", sysconfig.get_paths()["purelib"], os.path.dirname(os.__file__), os.path.dirname(json.__file__)]
for place in [*places, *temporary]:  # names of its own, so that no real module is harmed where nothing is confined
    for name in ("r1leftover_module.py", "r1leftover.pth"):
        try:
            with open(os.path.join(place, name), "x") as file: file.write(code)
        except OSError: continue
        if place not in temporary: escaped("a module in", place)
os.environ["PYTHONPATH"] = "/tmp"
os.environ["LD_PRELOAD"] = "/tmp/r1leftover.so"
sys.modules["wire"] = None
def add(a, b):
    return 0
""",
        then=r"""
try: import r1leftover_module
except ImportError: pass
if os.environ.get("LD_PRELOAD") or "/tmp" in os.environ.get("PYTHONPATH", ""):
    escaped("the environment of an earlier job")
def add(a, b):
    return "unharmed"
""",
    ),
)  # fmt: skip
