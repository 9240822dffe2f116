"""A few attacks that a backend must withstand before `open_sandbox` hands it out, in under two seconds.

They ask whether each layer is there at all; the whole suite is r1env/sandbox/attacks.
"""

from __future__ import annotations

from r1env.sandbox.job import Job, Limits
from r1env.sandbox.sandbox import Sandbox

_ATTACKS = {
    "reads of other files": "open('/etc/passwd').read()",
    "a directory of processes": "import os; os.listdir('/proc/1')",
    "writes outside the work directory": "open('/sandbox/x', 'w')",
    "a socket": "import socket; socket.socket()",
    "a signal to its keeper": "import os, signal; os.kill(os.getppid(), signal.SIGKILL) if os.getppid() != 1 else 1 / 0",
    "a user namespace": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "ptrace": "import ctypes; assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
    "another user": "import os; os.setuid(0) if os.getuid() else 1 / 0",
    "descriptors of others": "import os; os.write(7, b'x')",
    "limits raised": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (10**4, 10**4))",
}


def selftest(sandbox: Sandbox) -> list[str]:
    """The attacks that had success, by name; empty for a sound sandbox."""
    limits = Limits(wall_s=10.0, memory_mb=128)
    answer = sandbox.run(Job(action="program", text=b"print(int(input()) + 1)", stdin=b"41\n", limits=limits))
    if answer.status != "ok" or answer.stdout != b"42\n":
        return [
            f"an honest program ended with {answer.status}: {answer.detail or answer.stderr[-300:].decode()}"
        ]
    found = []
    for name, source in _ATTACKS.items():
        text = f"try:\n    {source}\nexcept BaseException:\n    print('refused')\nelse:\n    print('done')"
        result = sandbox.run(Job(action="program", text=text.encode(), limits=limits))
        if result.stdout != b"refused\n":
            found.append(name)
    return found
