"""Programs that nobody trusts, run so that they can neither cheat nor do harm.

`open_sandbox()` finds the best backend that this machine has, after trying it with attacks:

- `bwrap`: bubblewrap's namespaces; as root or as any user who may make user namespaces.
- `landlock`: Landlock, seccomp and limits alone; under a user id of its own when started by root.
- `docker`: a container of a running Docker engine.
- `subprocess`: no confinement at all but limits; must be allowed by name and by `unsafe=True`.

What each layer stops, and what none does, is in docs/sandbox.md.
"""

from __future__ import annotations

from r1env.sandbox.job import STATUSES, Action, Job, Limits, Result, Status
from r1env.sandbox.sandbox import BACKENDS, Sandbox, open_sandbox

__all__ = ["BACKENDS", "STATUSES", "Action", "Job", "Limits", "Result", "Sandbox", "Status", "open_sandbox"]
