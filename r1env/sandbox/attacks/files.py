"""Files: those of the machine read, written and linked; and traps for whoever clears up."""

from r1env.sandbox.attacks.attack import Attack
from r1env.sandbox.job import Limits

FAMILY = "files"

ATTACKS = (
    Attack(
        name="secrets-read", family=FAMILY, quick=True,
        aim="the caller's files: the home, the project, temporary files, passwords",
        source=r"""
import glob, hashlib
for file in ("@SECRET_FILE@", "@SHARED_FILE@", "@PROJECT@/env.py", *glob.glob("@HOME@/.*"), *glob.glob("@PROJECT@/../*"),
             *glob.glob("/root/.ssh/*"), *glob.glob("/home/*/*"), *glob.glob("/srv/*")):
    try:
        with open(file, "rb") as found: text = found.read(100)
    except IsADirectoryError: text = os.listdir(file)
    except OSError: continue
    if os.__file__.startswith(os.path.realpath(file) + "/"): continue  # the interpreter's own
    if file not in ("/root/.bashrc", "/root/.profile"): escaped("read", file, text)
for file in ("/etc/shadow", "/etc/hostname"):
    try: text = open(file, "rb").read()
    except OSError: continue
    if hashlib.sha256(text).hexdigest() == "@DIGEST@": escaped("read", file)
""",
    ),
    Attack(
        name="climb", family=FAMILY,
        aim="upwards by .. and by open directories, through /proc/self/root, /proc/1/root and cwd",
        source=r"""
ways = ["../" * 40, "/proc/self/root/", "/proc/1/root/", "/proc/self/cwd/" + "../" * 20, "/proc/thread-self/root/",
        "/dev/fd/3/", "/proc/%d/root/" % os.getppid(), "/proc/1/cwd/", "/sys/../", "/proc/self/map_files/../../../"]
for way in ways:
    for file in ("@SECRET_FILE@", "@SHARED_FILE@"):
        try: escaped("read", way, open(way + file.lstrip("/")).read())
        except (OSError, ValueError): pass
""",
    ),
    Attack(
        name="open-by-handle", family=FAMILY, language="cpp",
        aim="files by their inode's handle, which asks no directory for leave",
        source=r"""
int main() {
    struct { file_handle head; char data[128]; } handle{};
    int mount = 0, place = open(".", O_RDONLY);
    for (const char* path : {"/", "/usr", "/tmp", "."}) {
        handle.head.handle_bytes = 128;
        if (name_to_handle_at(AT_FDCWD, path, &handle.head, &mount, 0)) continue;
        *(unsigned*)handle.data = 2;
        handle.head.handle_bytes = 8;
        int found = open_by_handle_at(place, &handle.head, O_RDONLY);
        if (found >= 0) escaped("opened a root directory by its handle", found);
    }
    return 0;
}
""",
    ),
    Attack(
        name="writes-everywhere", family=FAMILY,
        aim="a file in every directory there is",
        source=r"""
import itertools
written = []
def enter(top, depth):
    name = os.path.join(top, "r1leftover-everywhere")
    try:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o666))
        written.append(top)
    except OSError: pass
    if depth:
        try: below = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        except OSError: return
        for directory in below[:60]: enter(directory, depth - 1)
enter("/", 2)
for place in ("@DIRECTORY@", "@HOME@", "@PROJECT@", "/dev/shm", "/tmp", "/var/tmp", "/run", "/dev/mqueue", "/sys/fs/cgroup"):
    enter(place, 0)
for place in written:
    if place.startswith(("/usr", "/etc", "/lib", "/bin", "/sbin", "/boot", "/root", "/home", "/opt", "/sandbox", "/sys", "/proc")):
        escaped("wrote in", place)
print(written)
""",
        then=r"""
for top, directories, names in os.walk("/"):
    directories[:] = [] if top.count("/") > 2 or top.startswith(("/usr/", "/proc", "/sys", "/lib")) else directories
    if any(name.startswith("r1leftover") for name in names): escaped("found", top)
""",
    ),
    Attack(
        name="left-for-the-next", family=FAMILY, quick=True,
        aim="messages to the next job: in files, shared memory, semaphores, queues, keys, the host's name, a lock",
        source=r"""
import ctypes
for place in (".", "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "/run", "/dev", "/dev/mqueue", "/run/lock"):
    try:
        with open(place + "/r1leftover-note", "w") as file: file.write("the answer is 42")
        os.chmod(place + "/r1leftover-note", 0o777)
    except OSError: pass
segment = syscall(29, 0x1EF70, 4096, 0o1666)  # shmget
if segment >= 0: print("a segment")
syscall(64, 0x1EF70, 1, 0o1666)  # semget
syscall(68, 0x1EF70, 0o1666)  # msgget
syscall(240, b"r1leftover", os.O_CREAT | os.O_RDWR, 0o666, 0)  # mq_open
for ring in (-1, -2, -3, -4, -5):
    syscall(248, b"user", b"r1leftover", b"42", 2, ring)  # add_key
if os.uname().nodename == "sandbox": syscall(170, b"r1leftover", 10)  # sethostname
""",
        then=r"""
import socket
for place in (".", "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "/run", "/dev", "/dev/mqueue", "/run/lock"):
    if os.path.exists(place + "/r1leftover-note"): escaped("a note in", place)
if syscall(29, 0x1EF70, 4096, 0) >= 0: escaped("a shared segment")
if syscall(64, 0x1EF70, 1, 0) >= 0: escaped("a semaphore")
if syscall(68, 0x1EF70, 0) >= 0: escaped("a queue of messages")
if syscall(240, b"r1leftover", os.O_RDWR, 0, 0) >= 0: escaped("a POSIX queue")
if syscall(249, b"user", b"r1leftover", 0, 0) >= 0: escaped("a key")
if os.uname().nodename == "r1leftover": escaped("a host's name")
""",
    ),
    Attack(
        name="room-taken-from-the-next", family=FAMILY,
        aim="all room and all inodes of the work directory taken, for the next job to find none",
        source=r"""
import itertools
try:
    for number in range(200): open(f"r1leftover-{number}", "wb").write(b"x" * (1 << 20))
except OSError: pass
try:
    for number in range(50_000): open(f"r1leftover-{number}-empty", "w").close()
except OSError: pass
""",
        then=r"""
try:
    with open("mine", "wb") as file: file.write(b"x" * 500_000)
    for number in range(100): open(f"mine-{number}", "w").close()
except OSError as error: escaped("no room is left for the next:", error)
if len(os.listdir(".")) != 101: escaped("another's files", os.listdir(".")[:5])
""",
    ),
    Attack(
        name="room-marked", family=FAMILY,
        aim="the work directory locked, and its mode and dates as a message: the next job finds no room, or a note",
        source=r"""
for mark in (lambda: os.utime(".", (1789, 1789)), lambda: os.chmod(".", 0o012)):
    try: mark()
    except OSError: pass
""",
        then=r"""
state = os.stat(".")
if 1789 in (int(state.st_mtime), int(state.st_atime)) or state.st_mode & 0o777 == 0o012: escaped("the directory", state)
open("note", "w").close()
os.unlink("note")
""",
    ),
    Attack(
        name="dates-of-devices", family=FAMILY,
        aim="the dates of devices and of what else all may write to, as a message to the next job",
        source=r"""
for path in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/tmp", "/var/tmp", "/dev/shm"):
    for dates in ((1789, 1789), None):
        try: os.utime(path, dates)
        except OSError: continue
        if path.startswith("/dev/"): escaped("a date of", path)
""",
        then=r"""
for path in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"):
    if 1789 in (int(os.stat(path).st_mtime), int(os.stat(path).st_atime)): escaped("a date of", path)
""",
    ),
    Attack(
        name="directories-without-end", family=FAMILY,
        aim="directories within directories by several threads, so many that removing them outlasts the reader's patience",
        source=r"""
import threading
os.mkdir("r1leftover"); os.chdir("r1leftover")
def make(number):
    made = 0
    while True:
        os.mkdir("%d_%d" % (number, made)); made += 1
for number in range(3): threading.Thread(target=make, args=(number,), daemon=True).start()
make(9)
""",
    ),
    Attack(
        name="files-under-way", family=FAMILY,
        aim="unlinked files whose descriptors are under way between two sockets that are under way too: nobody has them, "
        "and nobody gives their room back",
        source=r"""
import array, socket
for turn in range(12):
    mine, other = socket.socketpair()
    files = []
    try:
        for number in range(20):
            files.append(os.open("r1leftover", os.O_CREAT | os.O_RDWR))
            os.unlink("r1leftover")
            os.write(files[-1], b"x" * (1 << 20))
    except OSError: pass
    try: mine.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*files, mine.fileno(), other.fileno()]))])
    except OSError: pass
    for number in files: os.close(number)
""",
        then=r"""
try:
    for number in range(12): open(f"mine-{number}", "wb").write(b"x" * 900_000)
except OSError as error: escaped("no room is left for the next:", error)
""",
    ),
    Attack(
        name="width", family=FAMILY,
        aim="as many empty directories as there is room for: whoever clears up takes the next job's time",
        source=r"""
try:
    for number in range(20_000): os.mkdir(f"r1leftover-{number}")
except OSError: pass
""",
        then=r"""
if os.listdir("."): escaped("another's directories")
""",
    ),
    Attack(
        name="depths", family=FAMILY,
        aim="directories deeper than every path's length and every recursion, full of files: whoever clears up fails, "
        "the next job finds no room, and a verdict that fails is masked from training",
        source=r"""
try:
    for turn in range(2000):
        os.mkdir("r1leftover-d")
        os.chdir("r1leftover-d")
except OSError: pass
try:
    for number in range(50_000): open(f"r1leftover-{number}", "w").close()
except OSError: pass
""",
        then=r"""
try:
    for number in range(200): open(f"mine-{number}", "w").close()
except OSError as error: escaped("no room is left for the next:", error)
""",
        limits=Limits(cpu_s=8.0, wall_s=30.0),
    ),
    Attack(
        name="locked-doors", family=FAMILY,
        aim="directories without rights and files with names that are no text, for whoever clears up",
        source=r"""
os.makedirs("r1leftover-a/b/c")
names = [b"\xff\xfe", b"\n", b"-rf", b"*", b" ", b"\x1b[2J", b"a" * 255, "\u202e".encode()]
for name in names:
    open(b"r1leftover-a/b/" + name[:240], "w").close()
    os.makedirs(b"r1leftover-a/" + name[:240] + b"d")
os.symlink("@DIRECTORY@", "r1leftover-a/b/bait")
os.symlink("loop", "loop")
for place in ("r1leftover-a/b/c", "r1leftover-a/b", "r1leftover-a", "."):
    os.chmod(place, 0)
""",
    ),
    Attack(
        name="links-out-of-the-work-directory", family=FAMILY,
        aim="the work directory exchanged for links to the caller's files while it is cleared: root would follow",
        source=r"""
here = os.getcwd()
for target in ("@DIRECTORY@", "@SECRET_FILE@", "@SHARED_FILE@"):
    for action in (os.symlink, os.link):
        try: action(target, "r1leftover-" + action.__name__ + str(len(target)))
        except OSError: pass
        else:
            if action is os.link: escaped("a hard link to", target)
for name in ("solution.py", "program", "solution.cpp", "stdout", "stderr", "output", "result.json", "status"):
    try: os.symlink("@SECRET_FILE@", name)
    except OSError: pass
os.chdir("/")
try:
    os.rename(here, here + "-r1leftover")
    os.symlink("@DIRECTORY@", here)
except OSError: pass
if os.fork() == 0:
    for turn in range(100_000):
        for a, b in (("x", "y"), ("y", "x")):
            try: os.rename(os.path.join(here, a), os.path.join(here, b))
            except OSError: pass
os._exit(0)
""",
    ),
    Attack(
        name="rights-and-times-of-others", family=FAMILY,
        aim="rights, owners, times, attributes and locks of files that it may not write",
        source=r"""
import fcntl
targets = ["@SECRET_FILE@", "@DIRECTORY@", "@PROJECT@/env.py", "/usr/bin/env", "/tmp/..", "/sandbox/zygote.py", sys.executable or "/bin/sh"]
for target in targets:
    for name, action in {
        "chmod": lambda: os.chmod(target, os.stat(target).st_mode & 0o7777),
        "chown": lambda: os.chown(target, os.stat(target).st_uid, os.stat(target).st_gid),
        "utime": lambda: os.utime(target, ns=(os.stat(target).st_atime_ns, os.stat(target).st_mtime_ns)),
        "setxattr": lambda: os.setxattr(target, "user.r1leftover", b"x"),
        "truncate": lambda: os.truncate(target, os.stat(target).st_size),
        "unlink": lambda: os.rename(target, target),
        "lease": lambda: fcntl.fcntl(os.open(target, os.O_RDONLY), 1024, 0),
    }.items():
        try: action()
        except OSError: continue
        if name != "unlink": escaped(name, target)
""",
    ),
    Attack(
        name="binary-that-deletes-and-replaces-itself", family=FAMILY, language="cpp",
        aim="its own file deleted and replaced, through its path, its descriptor and /proc, for a cache of binaries",
        source=r"""
int main(int, char** argv) {
    char path[4096] = {0};
    long n = readlink("/proc/self/exe", path, sizeof path - 1);
    const char forged[] = "#!/bin/sh\necho ESC''APED by a replaced binary\n";
    int itself = open("/proc/self/exe", O_PATH);
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", itself);
    for (const char* target : {(const char*)path, (const char*)argv[0], "program", "/proc/self/exe", "/proc/self/fd/3", (const char*)name}) {
        if (!*target) continue;
        unlink(target);
        int fd = open(target, O_WRONLY | O_CREAT, 0755);
        if (fd >= 0) { if (write(fd, forged, sizeof forged - 1) < 0) continue; close(fd); }
    }
    if (itself >= 0) {  // when it runs no more, its file may be open to writing
        char shell[200];
        snprintf(shell, sizeof shell, "printf garbage > /proc/self/fd/%d && echo ESC''APED wrote its own file", itself);
        execl("/bin/sh", "sh", "-c", shell, (char*)0);
    }
    return n < 0;
}
""",
    ),
    Attack(
        name="terminal", family=FAMILY,
        aim="keystrokes put into the caller's terminal",
        source=r"""
import fcntl, glob
for file in ("/dev/tty", "/dev/console", *glob.glob("/dev/pts/*"), *glob.glob("/dev/tty*")):
    try: fd = os.open(file, os.O_RDWR | os.O_NOCTTY)
    except OSError: continue
    escaped("opened", file)
for fd in range(0, 10):
    try: fcntl.ioctl(fd, 0x5412, b"\n")
    except OSError: continue
    escaped("typed into", fd)
""",
    ),
)  # fmt: skip
