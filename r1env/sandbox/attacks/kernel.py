"""The kernel itself: namespaces, mounts, capabilities, set-user-id programs, and calls that few programs need."""

from r1env.sandbox.attacks.attack import Attack

FAMILY = "kernel"

ATTACKS = (
    Attack(
        name="namespaces", family=FAMILY, language="cpp",
        aim="user and other namespaces by unshare, clone, clone3 and setns: a root of its own, with all the kernel's doors",
        source=r"""
#include <sched.h>
int main() {
    for (int flag : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80}) {
        if (unshare(flag) == 0) escaped("unshared", flag);
        pid_t child = syscall(SYS_clone, flag & ~0x80 ? flag | SIGCHLD : SIGCHLD | CLONE_NEWUSER, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        if (child > 0) escaped("cloned with", flag);
        unsigned long arguments[11] = {(unsigned long)(unsigned)flag};
        child = syscall(435, arguments, sizeof arguments);
        if (child == 0) _exit(0);
        if (child > 0) escaped("clone3 with", flag);
    }
    for (const char* name : {"user", "mnt", "pid", "net"}) {
        char path[64];
        snprintf(path, sizeof path, "/proc/1/ns/%s", name);
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && setns(fd, 0) == 0) escaped(path);
    }
    return 0;
}
""",
    ),
    Attack(
        name="mounts", family=FAMILY, quick=True,
        aim="mounts: a tmpfs, what lies beneath, the old root, all made writable again, the new calls too",
        source=r"""
import ctypes
library = libc()
os.makedirs("r1leftover-m", exist_ok=True)
for name, arguments in {
    "tmpfs": (b"none", b"r1leftover-m", b"tmpfs", 0, None), "proc": (b"none", b"r1leftover-m", b"proc", 0, None),
    "bind": (b"/", b"r1leftover-m", None, 4096, None), "devices": (b"none", b"r1leftover-m", b"devtmpfs", 0, None),
}.items():
    if library.mount(*arguments) == 0:
        escaped("mounted", name)
        library.umount2(b"r1leftover-m", 2)
# The kernel asks for the right first, and only then whether anything is mounted there: nothing is, so nothing changes.
for name, result in (("remount", library.mount(None, b"r1leftover-m", None, 32 | 4096, None)),
                     ("unmount", library.umount2(b"r1leftover-m", 2)), ("pivot", syscall(155, b"r1leftover-m", b"r1leftover-m"))):
    if result == 0 or ctypes.get_errno() in (22, 16): escaped("may", name)
for number, arguments in {428: (-100, b"/", 1), 430: (b"tmpfs", 0), 429: (-1, b"", -100, b"/mnt", 4), 442: (-100, b"/", 0, 0, 0)}.items():
    if syscall(number, *arguments) >= 0: escaped("call", number)
""",
    ),
    Attack(
        name="chroot", family=FAMILY, language="cpp",
        aim="out of the root: chroot below an open directory, and upwards",
        source=r"""
int main() {
    int here = open("/", O_RDONLY | O_DIRECTORY);
    mkdir("r1leftover-jail", 0755);
    if (chroot("r1leftover-jail") == 0) {
        if (fchdir(here) == 0) for (int i = 0; i < 64; i++) if (chdir("..")) break;
        if (chroot(".") == 0) escaped("left the root");
        if (access("@SECRET_FILE@", R_OK) == 0) escaped("sees the secret");
    }
    return 0;
}
""",
    ),
    Attack(
        name="another-user", family=FAMILY, quick=True,
        aim="root by setuid and its kin, by capabilities, by set-user-id programs",
        source=r"""
import glob, stat, subprocess
me = os.getuid()
for name in ("setuid", "seteuid", "setgid", "setegid"):
    for number in {0, 1, 1001, 65534, 61000001} - {me, os.getgid()}:
        try: getattr(os, name)(number)
        except OSError: continue
        escaped(name, number)
try: os.setgroups([0]); escaped("setgroups")
except OSError: pass
if syscall(126, b"\x22\x05\x08\x20" + bytes(4), b"\xff" * 24) == 0: escaped("capset")
try: lines = open("/proc/self/status").readlines()
except OSError: lines = []
for line in lines:
    if line.startswith(("CapPrm", "CapEff", "CapBnd", "CapAmb")) and int(line.split()[1], 16): escaped(line)
for file in glob.glob("/usr/bin/*") + glob.glob("/usr/lib/*/*helper*") + glob.glob("/bin/*"):
    try: mode = os.stat(file).st_mode
    except OSError: continue
    if not mode & (stat.S_ISUID | stat.S_ISGID): continue
    try: done = subprocess.run([file, "-c", "id -u"], stdin=subprocess.DEVNULL, capture_output=True, timeout=0.5)
    except (OSError, subprocess.SubprocessError): continue
    if done.stdout.strip() == b"0" and me: escaped("root by", file)
for command in (["/usr/bin/python3", "-c", "import os; print(os.geteuid(), os.getegid())"],):
    try:
        import shutil
        shutil.copy("/bin/sh", "r1leftover-sh")
        os.chmod("r1leftover-sh", 0o6755)
        if os.stat("r1leftover-sh").st_uid != me: escaped("a set-user-id file of another")
    except OSError: pass
""",
    ),
    Attack(
        name="rare-calls", family=FAMILY, language="cpp",
        aim="calls with a history of holes: bpf, perf, io_uring, userfaultfd, keyrings, kexec, modules, ...",
        source=r"""
struct Call { const char* name; long number; long a, b, c, d; int taken; };  // `taken`: an error of a call that was let in
static char page[4096], empty[4096];
int main() {
    long p = (long)page;
    const Call calls[] = {
        {"bpf", 321, 0, p, 120}, {"perf_event_open", 298, p, 0, -1, -1}, {"io_uring_setup", 425, 4, p},
        {"userfaultfd", 323, 1}, {"keyctl", 250, 0, -5, 1}, {"add_key", 248, p, p, 0, 0}, {"request_key", 249, p, p, 0, 0},
        {"init_module", 175, p, 0, p}, {"finit_module", 313, -1, p}, {"delete_module", 176, p, 0}, {"kexec_load", 246, 0, 0, 0, 0xff, EINVAL},
        {"personality", 135, 0x0040000}, {"iopl", 172, 3}, {"ioperm", 173, 0x80, 1, 1}, {"swapon", 167, p, 0},
        {"quotactl", 179, 0, p}, {"acct", 163, p}, {"syslog", 103, 10}, {"fanotify_init", 300, 0, 0},
        {"inotify_init", 253}, {"memfd_create", 319, p, 0}, {"memfd_secret", 447, 0}, {"splice", 275, -1},
        {"vmsplice", 278, -1}, {"migrate_pages", 256, 0}, {"move_pages", 279, 0}, {"set_mempolicy", 238, 0, 0, 0},
        {"shmget", 29, 77, 4096, 0, 0, ENOENT}, {"msgget", 68, 77, 0, 0, 0, ENOENT}, {"semget", 64, 77, 1, 0, 0, ENOENT},
        {"mq_open", 240, p, 2, 0, 0, ENOENT}, {"ptrace", 101, 0x4206, 1}, {"process_madvise", 440, -1},
        {"pidfd_open", 434, 1, 0}, {"landlock_create_ruleset", 444, 0, 0, 1}, {"seccomp", 317, 2, 0, 0},
        {"mknod", 133, p, 060666, 0xfe00}, {"modify_ldt", 154, 0, p, 16}, {"name_to_handle_at", 303, -100, p, p, p},
        {"setns", 308, -1, 0}, {"socket", 41, 1, 1, 0}, {"sethostname", 170, p, -1, 0, 0, EINVAL},
        {"clock_adjtime", 305, 0, (long)empty}, {"lookup_dcookie", 212, 0, p, 10}, {"pkey_alloc", 330, 0, 0}, {"mlockall", 151, 1},
        {"open_tree", 428, -100, p, 1}, {"fsopen", 430, p, 0}, {"mount_setattr", 442, -100, p, 0, 0},
    };
    // Harmless where they are allowed; the kernel's own refusals (a missing right) do not count as closed doors, but
    // neither as open ones: only a call that works is.
    const char* tolerated[] = {"landlock_create_ruleset", "inotify_init", "personality", "pkey_alloc", "set_mempolicy",
                               "migrate_pages", "modify_ldt", "seccomp", "clock_adjtime", "socket", "memfd_create"};
    strcpy(page, "r1leftover");
    for (const Call& call : calls) {
        long result = syscall(call.number, call.a, call.b, call.c, call.d, 0);
        bool fine = result < 0 && !(call.taken && errno == call.taken);
        for (const char* name : tolerated) fine |= !strcmp(name, call.name);
        if (!fine) escaped(call.name, result);
    }
    return 0;
}
""",
    ),
    Attack(
        name="other-architectures", family=FAMILY, language="cpp",
        aim="calls by the 32-bit door and by x32 numbers, which filters often forget",
        source=r"""
static long old(long number, long a, long b, long c) {
    long result = -38;
#if defined(__x86_64__)
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
#endif
    return result;
}
int main() {
    if (fork() == 0) {
        long fd = old(359, 1, 1, 0);  // socket
        if (fd >= 0) escaped("a socket by int 80", fd);
        if (old(310, 0x10000000, 0, 0) == 0) escaped("unshare by int 80");
        if (old(357, 0, 0, 0) != -38 && old(357, 0, 0, 0) >= 0) escaped("bpf by int 80");
        _exit(0);
    }
    wait(0);
    if (fork() == 0) {
        if (syscall(0x40000000 + 41, 1, 1, 0) >= 0) escaped("a socket by x32");
        if (syscall(0x40000000 + 272, 0x10000000) == 0) escaped("unshare by x32");
        _exit(0);
    }
    wait(0);
    if (syscall(41 | 1L << 32, 1, 1, 0) >= 0) escaped("a socket by a number with a high half");
    if (syscall(56, 0x10000000L << 32 | SIGCHLD, 0, 0, 0, 0) == 0) _exit(0);
    return 0;
}
""",
    ),
    Attack(
        name="proc-and-sys", family=FAMILY,
        aim="settings of the kernel and of control groups opened for writing",
        source=r"""
import glob
places = ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/hostname", "/proc/sys/kernel/pid_max", "/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper",
    "/proc/sys/kernel/randomize_va_space", "/proc/self/uid_map", "/proc/1/mem", "/proc/1/oom_score_adj", "/proc/bus/pci/00/00.0",
    *glob.glob("/sys/fs/cgroup/**/cgroup.procs")[:50], *glob.glob("/sys/fs/cgroup/**/release_agent")[:50],
    *glob.glob("/sys/fs/cgroup/**/memory.max")[:50], *glob.glob("/sys/devices/system/cpu/*/online")]
for place in places:
    try: fd = os.open(place, os.O_WRONLY)
    except OSError: continue
    if place == "/proc/self/uid_map": print("a map that needs rights")
    else: escaped("opened for writing", place)
    os.close(fd)
""",
    ),
    Attack(
        name="locks", family=FAMILY,
        aim="messages by locks on files that all can read, to programs that run at the time and to the machine",
        source=r"""
import fcntl, struct
for path in ("/usr/bin/sh", "/bin/sh", sys.executable, "/usr", "/dev/null"):
    try: fd = os.open(path, os.O_RDONLY)
    except OSError: continue
    whole = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
    for name, take in (("flock", lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
                       ("a record's lock", lambda: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)),
                       ("a look for locks", lambda: fcntl.fcntl(fd, fcntl.F_GETLK, whole)),
                       ("an open file's lock", lambda: fcntl.fcntl(fd, 37, whole)),
                       ("a lease", lambda: fcntl.fcntl(fd, 1024, fcntl.F_RDLCK)),
                       ("notices", lambda: fcntl.fcntl(fd, 1026, 1))):
        try: take()
        except OSError: continue
        escaped(name, "on", path)
    os.close(fd)
""",
    ),
    Attack(
        name="vsyscalls-and-self-modification", family=FAMILY, language="cpp",
        aim="code of its own in writable memory: a filter must hold for it as well",
        source=r"""
int main() {
    unsigned char code[] = {0xb8, 41, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe, 1, 0, 0, 0, 0x31, 0xd2, 0x0f, 0x05, 0xc3};
    void* p = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 1;
    memcpy(p, code, sizeof code);
#if defined(__x86_64__)
    long fd = ((int (*)())p)();
    if (fd >= 0) escaped("a socket by code of its own", fd);
#endif
    return 0;
}
""",
    ),
)  # fmt: skip
