"""Talk with the outside: sockets of every family."""

from r1env.sandbox.attacks.attack import Attack
from r1env.sandbox.job import Limits

FAMILY = "network"

ATTACKS = (
    Attack(
        name="tcp-and-udp", family=FAMILY, quick=True,
        aim="connections and datagrams to services of this machine, and out of it",
        source=r"""
import socket
for kind, family, address in (
    (socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", @TCP@)), (socket.SOCK_DGRAM, socket.AF_INET, ("127.0.0.1", @UDP@)),
    (socket.SOCK_STREAM, socket.AF_INET6, ("::1", @TCP@)), (socket.SOCK_STREAM, socket.AF_INET6, ("::ffff:127.0.0.1", @TCP@)),
    (socket.SOCK_DGRAM, socket.AF_INET, ("8.8.8.8", 53)), (socket.SOCK_STREAM, socket.AF_INET, ("169.254.169.254", 80)),
):
    try:
        with socket.socket(family, kind) as found:
            found.settimeout(0.1)
            found.connect(address)
            found.send(b"hello")
            escaped("sent to", address)
    except OSError: pass
""",
    ),
    Attack(
        name="unix-sockets", family=FAMILY,
        aim="sockets with paths and without: the caller's, a container engine's, a desktop's",
        source=r"""
import glob, socket
for address in ("@SOCKET@", "\0@ABSTRACT@", "/var/run/docker.sock", "/run/docker.sock", "/run/systemd/private", "/dev/log",
                "/run/dbus/system_bus_socket", *glob.glob("/tmp/.X11-unix/*"), *glob.glob("/sandbox/*"), "/sandbox/socket"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            with socket.socket(socket.AF_UNIX, kind) as found:
                found.settimeout(0.1)
                found.connect(address)
                escaped("connected to", address)
        except OSError: pass
""",
    ),
    Attack(
        name="datagrams-of-a-socket-pair", family=FAMILY, quick=True,
        aim="a pair of datagram sockets needs no network; but each can send to any other address",
        source=r"""
import array, socket
try: left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
except OSError: sys.exit()
for address in ("@DATAGRAM@", "\0@ABSTRACT@-datagram"):
    for action in (lambda: left.sendto(b"hello", address),
                   lambda: left.sendmsg([b"hello"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))], 0, address)):
        try: action()
        except OSError: continue
        escaped("sent to", address)
""",
    ),
    Attack(
        name="names", family=FAMILY,
        aim="secrets in the names that are looked up",
        source=r"""
import socket
socket.setdefaulttimeout(0.2)
try: escaped("resolved", socket.getaddrinfo("example.com", 80))
except OSError: pass
""",
        limits=Limits(wall_s=8.0, memory_mb=256),
    ),
    Attack(
        name="rare-families", family=FAMILY, language="cpp",
        aim="virtual machines' sockets, netlink, packets, kernel cryptography, Bluetooth: families that no namespace holds",
        source=r"""
#include <sys/socket.h>
int main() {
    struct { unsigned short family, zero; unsigned port, cid; unsigned char more[4]; } host{40, 0, 1024, 2, {}};
    for (int family = 2; family < 46; family++)
        for (int kind : {1, 2, 3, 5}) {
            int fd = socket(family, kind, 0);
            if (fd < 0) continue;
            if (family == 40 && connect(fd, (sockaddr*)&host, sizeof host) == 0) escaped("connected to the virtual machine's host");
            if (family == 40 || family == 38 || family == 17 || family == 31) escaped("made a socket of family", family);
            close(fd);
        }
    return 0;
}
""",
    ),
    Attack(
        name="services-for-the-next", family=FAMILY,
        aim="a port and a name bound by a daemon, for the next job to call",
        source=r"""
import socket, time
if os.fork() == 0:
    os.setsid()
    try:
        one = socket.socket(); one.bind(("127.0.0.1", 48765)); one.listen()
        two = socket.socket(socket.AF_UNIX); two.bind("\0r1leftover"); two.listen()
    except OSError: pass
    time.sleep(5)
time.sleep(0.05)
os._exit(0)
""",
        then=r"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", 48765)), (socket.AF_UNIX, "\0r1leftover")):
    try:
        found = socket.socket(family)
        found.connect(address)
        escaped("an earlier job answers at", address)
    except OSError: pass
""",
    ),
)  # fmt: skip
