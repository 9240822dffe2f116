"""More processes, threads, memory, time and output than were granted. Each stops by itself where nothing stops it."""

from r1env.sandbox.attacks.attack import Attack
from r1env.sandbox.job import Limits

FAMILY = "bombs"

ATTACKS = (
    Attack(
        name="fork-bomb", family=FAMILY, quick=True,
        aim="processes without end, each ignoring polite signals",
        source=r"""
import signal, time
for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
children = 0
try:
    while children < 100:
        if os.fork() == 0: time.sleep(30); os._exit(0)
        children += 1
except OSError: pass
if children >= 100: escaped(children, "processes at a time")
""",
    ),
    Attack(
        name="fork-bomb-of-trees", family=FAMILY, language="cpp",
        aim="processes that double by fork and vfork, in a tree, each in a session of its own",
        source=r"""
int main() {
    int* count = (int*)mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count == MAP_FAILED) return 1;
    signal(SIGTERM, SIG_IGN);
    pid_t first = getpid();
    for (int turn = 0; turn < 40 && *count < 100; turn++)
        if (fork() == 0) { setsid(); __sync_fetch_and_add(count, 1); }
    usleep(100000);
    if (getpid() == first && *count >= 100) escaped("processes at a time", *count);
    if (getpid() != first) sleep(30);
    return 0;
}
""",
    ),
    Attack(
        name="time-on-nobodys-account", family=FAMILY,
        aim="the work done by children whose end nobody hears of: their time is on no account",
        source=r"""
import signal, time
try: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
except OSError: pass
number, children = int(input()), []
for turn in range(2):
    child = os.fork()
    if child == 0:
        while time.process_time() < 0.8: pass
        os._exit(0)
    children.append(child)
for child in children:
    try: os.waitpid(child, 0)
    except ChildProcessError: pass
print(2 * number)
""",
    ),
    Attack(
        name="thread-bomb", family=FAMILY,
        aim="threads without end, on small stacks",
        source=r"""
import threading, time
threading.stack_size(32768)
count = 0
try:
    while count < 200:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        count += 1
except (RuntimeError, MemoryError): pass
if count >= 200: escaped(count, "threads at a time")
os._exit(1)
""",
    ),
    Attack(
        name="thread-bomb-by-clone", family=FAMILY, language="cpp",
        aim="threads by the bare system call, without stacks of their own to count",
        source=r"""
#include <sched.h>
static char stacks[400][4096];
static int idle(void*) { for (;;) pause(); }
int main() {
    int count = 0;
    for (; count < 400; count++)
        if (clone(idle, stacks[count] + 4096, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS | CLONE_FILES, 0) < 0) break;
    if (count >= 400) escaped("threads at a time", count);
    _exit(0);
}
""",
    ),
    Attack(
        name="memory-in-a-list", family=FAMILY, quick=True,
        aim="memory without end, and a handler that goes on after MemoryError",
        source=r"""
kept = []
for size in (1 << 28, 1 << 24, 1 << 20):
    try:
        while len(kept) * 16 < 4096: kept.append(bytearray(size))
    except MemoryError: pass
    if sum(map(len, kept)) > 1 << 30: escaped("a gigabyte"); break
""",
    ),
    Attack(
        name="memory-by-new", family=FAMILY, language="cpp",
        aim="new without end, touched",
        source=r"""
int main() {
    long total = 0;
    while (total < 1L << 30) { char* p = new char[1 << 22]; memset(p, 1, 1 << 22); total += 1 << 22; }
    escaped("a gigabyte", total);
    return 0;
}
""",
    ),
    Attack(
        name="memory-shared-mapped", family=FAMILY, language="cpp",
        aim="shared mappings, which limits on data do not count",
        source=r"""
int main() {
    long total = 0;
    while (total < 1L << 30) {
        void* p = mmap(0, 1 << 24, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return 1;
        memset(p, 1, 1 << 24);
        total += 1 << 24;
    }
    escaped("a gigabyte of shared memory", total);
    return 0;
}
""",
    ),
    Attack(
        name="memory-files", family=FAMILY,
        aim="memory files and files on file systems in memory, which belong to no process",
        source=r"""
import ctypes
block, total = b"x" * (1 << 20), 0
def fill(fd):
    global total
    try:
        while total < 1 << 30: total += os.write(fd, block)
    except OSError: pass
for turn in range(300):
    fd = syscall(319, b"x", 0)  # memfd_create
    if fd < 0: break
    fill(fd)
for place in ("/dev/shm", "/tmp", ".", "/run", "/run/lock", "/var/tmp", "/dev", "/sandbox", "/"):
    for turn in range(400):
        try: fd = os.open(f"{place}/r1leftover-{turn}", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError: break
        before = total
        fill(fd)
        os.close(fd)
        if total == before: break
if total > 300 << 20: escaped(total >> 20, "MB in files")
""",
    ),
    Attack(
        name="memory-of-the-kernel", family=FAMILY,
        aim="memory that only the kernel counts: pipes, sockets, descriptors in flight, shared segments, queues",
        source=r"""
import array, fcntl, socket
total = 0
for turn in range(2000):
    try:
        end, mouth = os.pipe()
        try: fcntl.fcntl(mouth, 1031, 1 << 20)
        except OSError: pass
        os.set_blocking(mouth, False)
        while True: total += os.write(mouth, b"x" * 65536)
    except BlockingIOError: pass
    except OSError: break
for fd in range(3, 1024):
    try: os.close(fd)
    except OSError: pass
for turn in range(500):
    try:
        left, right = socket.socketpair()
        left.setblocking(False)
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
    except OSError: pass
    try:
        while True: total += left.send(b"x" * 65536)
    except (OSError, NameError): pass
    try: left.detach(); right.detach()
    except NameError: break
for key in range(1, 200):
    number = syscall(29, 0, 1 << 22, 0o1600)  # shmget
    if number < 0: break
    total += 1 << 22
if total > 300 << 20: escaped(total >> 20, "MB in the kernel")
""",
    ),
    Attack(
        name="time-in-children", family=FAMILY,
        aim="CPU time spent by children, so that the program's own stays small",
        source=r"""
import time
def spin(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds: pass
spent = 0.0
for turn in range(6):
    child = os.fork()
    if child == 0: spin(0.5); os._exit(0)
    os.waitpid(child, 0)
    spent += 0.5
print(2 * int(input()) if spent > 1.2 else spent)
""",
        limits=Limits(cpu_s=1.0, wall_s=8.0, memory_mb=256),
    ),
    Attack(
        name="time-in-orphans", family=FAMILY,
        aim="CPU time spent by grandchildren that nobody waits for, and their result fetched through a pipe",
        source=r"""
import time
end, mouth = os.pipe()
for turn in range(5):
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            start = time.process_time()
            while time.process_time() - start < 0.6: pass
            os.write(mouth, b"x")
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
os.close(mouth)
spent = 0.0
while os.read(end, 1): spent += 0.6
print(2 * int(input()) if spent > 1.2 else spent)
""",
        limits=Limits(cpu_s=1.0, wall_s=8.0, memory_mb=256),
    ),
    Attack(
        name="time-in-threads", family=FAMILY, language="cpp",
        aim="CPU time of threads and after an exec, with the signal of the limit ignored and the limit raised",
        source=r"""
#include <sys/resource.h>
#include <ctime>
int main(int argc, char** argv) {
    signal(SIGXCPU, SIG_IGN); signal(SIGPROF, SIG_IGN); signal(SIGVTALRM, SIG_IGN);
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    if (!setrlimit(RLIMIT_CPU, &limit)) escaped("raised the limit of time");
    while (clock() < 4 * CLOCKS_PER_SEC) {}
    escaped("CPU seconds of 1", clock() / CLOCKS_PER_SEC);
    return 0;
}
""",
        limits=Limits(cpu_s=1.0, wall_s=8.0, memory_mb=256),
    ),
    Attack(
        name="limits-raised", family=FAMILY, quick=True,
        aim="every limit raised, a better priority, a real-time class and all processors",
        source=r"""
import resource
for name in ("AS", "CPU", "NPROC", "FSIZE", "NOFILE", "CORE", "STACK", "DATA", "MEMLOCK", "MSGQUEUE"):
    number = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(number)[1]
    if hard == resource.RLIM_INFINITY: escaped("no limit of", name)
    try: resource.setrlimit(number, (hard + 1, hard + 1))
    except (OSError, ValueError): continue
    escaped("raised", name, "above", hard)
for action, what in ((lambda: os.nice(-5) < 0, "priority"), (lambda: os.setpriority(0, 0, -20) is None, "priority"),
                     (lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) is None, "class")):
    try:
        if action(): escaped("a better", what)
    except OSError: pass
""",
    ),
    Attack(
        name="sleep-for-ever", family=FAMILY,
        aim="no CPU time at all, and signals blocked",
        source=r"""
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: time.sleep(1000)
""",
    ),
    Attack(
        name="busy-in-one-instruction", family=FAMILY, style="calls",
        aim="a loop inside one operation of the interpreter, which no signal handler of Python's can leave",
        source=r"""
def add(a, b):
    return sum(iter(int, 1))
""",
    ),
    Attack(
        name="regular-expression-without-end", family=FAMILY, style="harness",
        aim="a function that never answers while the harness waits",
        source=r"""
import re
def add(a, b):
    return re.match("(a+)+$", "a" * 100 + "b")
""",
    ),
    Attack(
        name="recursion", family=FAMILY, style="calls",
        aim="the stack overflown in C, where Python has no guard",
        source=r"""
sys.setrecursionlimit(10**9)
class Deep:
    def __getattr__(self, name): return getattr(self, name)
    def __repr__(self): return repr([self])
def add(a, b):
    return len(repr(Deep())) if a == 1 else Deep().nothing
""",
    ),
    Attack(
        name="main-thread-gone", family=FAMILY, language="cpp",
        aim="the first thread ends, another one works on: who asks for the first one's time sees none pass",
        source=r"""
#include <ctime>
#include <pthread.h>
static void* spin(void*) { while (clock() < 3 * CLOCKS_PER_SEC) {} printf("%d\n", 2 * 1789); fflush(stdout); _exit(0); }
int main() {
    pthread_t thread;
    if (pthread_create(&thread, 0, spin, 0)) return 1;
    syscall(SYS_exit, 0);
}
""",
        limits=Limits(cpu_s=1.0, wall_s=8.0, memory_mb=256),
    ),
    Attack(
        name="stack-overflow", family=FAMILY, language="cpp",
        aim="endless recursion, with a handler on another stack that leaves with code 0",
        source=r"""
static void leave(int) { _exit(0); }
int deep(volatile int* p) { volatile int here[1000]; here[0] = *p + 1; return deep(here) + here[0]; }
int main() {
    static char other[1 << 16];
    stack_t stack{}; stack.ss_sp = other; stack.ss_size = sizeof other;
    sigaltstack(&stack, 0);
    struct sigaction action{}; action.sa_handler = leave; action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, 0);
    int start = 0;
    return deep(&start);
}
""",
    ),
    Attack(
        name="flood-of-output", family=FAMILY, quick=True,
        aim="standard output and error without end, and an end of success",
        source=r"""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
total = 0
for turn in range(300):
    for fd in (1, 2):
        try: total += os.write(fd, b"42\n" * 100_000)
        except OSError: pass
if total > 32 << 20: escaped(total, "bytes")
os._exit(0)
""",
    ),
    Attack(
        name="flood-of-results", family=FAMILY, style="calls",
        aim="returned values and error texts as large as memory",
        source=r"""
def add(a, b):
    if a == 1: return "x" * 100_000_000
    if a == 10: return [0] * 10_000_000
    raise ValueError("x" * 100_000_000)
""",
    ),
    Attack(
        name="flood-in-a-hole", family=FAMILY,
        aim="outputs of a terabyte that take no room: holes, for whoever reads them whole",
        source=r"""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for fd in range(0, 16):
    for size in (1 << 44, 1 << 32, 1 << 28):
        try: os.ftruncate(fd, size)
        except OSError: continue
        escaped("a file of", size, "bytes at", fd)
    try: os.pwrite(fd, b"x", (1 << 33))
    except OSError: continue
    escaped("wrote 8 GB behind the start of", fd)
""",
    ),
    Attack(
        name="never-reads-and-floods", family=FAMILY, style="harness",
        aim="requests left unread and answers sent without end, until both sides wait for each other",
        source=r"""
import threading, time
def flood():
    while True:
        for fd in range(3, 16):
            try: os.write(fd, b"\x10\x00\x00\x00" + b" " * 16)
            except OSError: pass
for _ in range(3): threading.Thread(target=flood, daemon=True).start()
while True: time.sleep(1)
""",
    ),
)  # fmt: skip
