"""Processes that outlive the program, confuse who waits for it, or signal others."""

from r1env.sandbox.attacks.attack import Attack

FAMILY = "daemons"

ATTACKS = (
    Attack(
        name="daemon", family=FAMILY, quick=True,
        aim="a daemon by double fork and setsid, deaf to signals, that holds all descriptors and writes on",
        source=r"""
import signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        for turn in range(300):
            for place in (".", "/tmp", "/dev/shm", "@DIRECTORY@"):
                try: open(place + "/r1leftover-daemon", "a").write("x")
                except OSError: pass
            os.write(1, b"x")
            time.sleep(0.1)
    os._exit(0)
os._exit(0)
""",
        then=r"""
for place in (".", "/tmp", "/dev/shm"):
    try: found = os.listdir(place)
    except OSError: continue
    if "r1leftover-daemon" in found: escaped("a daemon's file", place)
""",
    ),
    Attack(
        name="hopping-process", family=FAMILY, language="cpp",
        aim="a process that forks and ends at once, over and over: killing by number comes too late",
        source=r"""
int main() {
    if (fork()) return 0;
    setsid();
    for (int turn = 0; turn < 100000; turn++) {
        pid_t child = fork();
        if (child > 0) _exit(0);
        if (child < 0) usleep(100);
    }
    return 0;
}
""",
    ),
    Attack(
        name="sibling-of-the-program", family=FAMILY, language="cpp",
        aim="siblings by CLONE_PARENT: whoever waits for the program may take their end, code 0, for its own",
        source=r"""
int main() {
    for (int turn = 0; turn < 8; turn++)
        if (syscall(SYS_clone, 0x8000 | (turn % 2 ? SIGCHLD : 0), 0, 0, 0, 0) == 0) {
            if (turn < 4) _exit(0);
            signal(SIGTERM, SIG_IGN);
            sleep(30);
        }
    usleep(50000);
    return 7;
}
""",
    ),
    Attack(
        name="zombies", family=FAMILY,
        aim="dead children that nobody waits for, and stopped ones that nobody wakes",
        source=r"""
import signal
for turn in range(30):
    try: child = os.fork()
    except OSError: break
    if child == 0:
        if turn % 2: os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
os._exit(0)
""",
    ),
    Attack(
        name="output-held-open", family=FAMILY,
        aim="a child that keeps the output open after the end: who waits for its end of file waits for ever",
        source=r"""
import time
if os.fork() == 0:
    os.setsid()
    time.sleep(30)
os._exit(0)
""",
    ),
    Attack(
        name="signals-to-all", family=FAMILY, quick=True,
        aim="signals to parents, to process 1, to the group of another, to the caller: who takes a signal can be ended",
        source=r"""
import signal
mine = {os.getpid()}
for pid in {os.getppid(), @PID@, *range(1, 400)} - mine - {0}:
    try: os.kill(pid, 0)
    except OSError: continue
    if pid != 1 or os.getppid() != 1:
        escaped("may signal", pid)
for group in {os.getpgid(os.getppid()) if os.getppid() else 0, @PID@} - {0, os.getpgrp()}:
    try: os.killpg(group, 0)
    except OSError: continue
    escaped("may signal the group", group)
print("none")
""",
    ),
    Attack(
        name="kill-everybody", family=FAMILY, language="cpp",
        aim="SIGKILL and SIGSTOP to all, as soon as a look has shown that few would be hit",
        source=r"""
int main() {
    if (fork() == 0) { setsid(); sleep(30); }
    int seen = 0;
    for (int pid = 2; pid < 70000; pid++) seen += kill(pid, 0) == 0;
    if (seen > 4) { escaped("may signal many", seen); return 1; }
    kill(1, SIGKILL); kill(1, SIGSTOP); kill(1, SIGABRT); kill(1, SIGCHLD); kill(1, SIGSEGV);
    kill(getppid(), SIGCONT); kill(getppid(), SIGUSR1);
    kill(-1, SIGSTOP); kill(-1, SIGKILL);
    return 0;
}
""",
    ),
    Attack(
        name="signals-by-descriptor-owner", family=FAMILY, language="cpp",
        aim="the kernel made to signal others: a descriptor owned by them, with a signal of choice",
        source=r"""
#include <sys/socket.h>
int main() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
    signal(SIGIO, SIG_IGN);
    for (int pid : {1, (int)getppid(), @PID@}) {
        if (pid <= 1 || pid == getpid()) continue;
        fcntl(pair[0], F_SETOWN, pid);
        fcntl(pair[0], F_SETSIG, SIGURG);
        fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK);
        if (write(pair[1], "x", 1) < 0) return 1;
        if (kill(pid, 0) == 0) escaped("may signal", pid);
    }
    return 0;
}
""",
    ),
    Attack(
        name="limits-of-others", family=FAMILY, quick=True,
        aim="limits, priority and processors of parents and process 1 changed: every later job would suffer",
        source=r"""
import ctypes
old = (ctypes.c_uint64 * 2)()
for pid in {os.getppid(), 1, @PID@} - {0, os.getpid()}:
    if syscall(302, pid, 7, 0, ctypes.addressof(old)) == 0:  # prlimit64
        if syscall(302, pid, 7, ctypes.addressof(old), 0) == 0: escaped("sets limits of", pid)
    mask = (ctypes.c_uint64 * 16)()
    size = syscall(204, pid, 128, ctypes.addressof(mask))
    if size > 0 and syscall(203, pid, size, ctypes.addressof(mask)) == 0: escaped("sets processors of", pid)
    try:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))
        escaped("sets the priority of", pid)
    except OSError: pass
    for name in ("oom_score_adj", "comm", "coredump_filter", "clear_refs", "timerslack_ns"):
        try: os.close(os.open(f"/proc/{pid}/{name}", os.O_WRONLY))
        except OSError: continue
        escaped("opens for writing", pid, name)
""",
    ),
    Attack(
        name="reaper-and-death-signals", family=FAMILY,
        aim="become the reaper of others, forget to die with the parent, undo what may not be undone",
        source=r"""
library = libc()
done = [n for n, arguments in {"subreaper": (36, 1), "no death signal": (1, 0), "dumpable": (4, 1),
        "speculation": (53, 0, 1), "keep capabilities": (8, 1), "no seccomp": (22, 0), "timer slack": (29, 1),
        "exe": (35, 13, 0)}.items() if library.prctl(*arguments, 0, 0, 0) == 0]
if "no seccomp" in done: escaped(done)
import time
if os.fork() == 0:
    library.prctl(1, 0, 0, 0, 0)
    os.setsid()
    time.sleep(30)
""",
    ),
)  # fmt: skip
