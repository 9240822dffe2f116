"""These tests run Triton's interpreter, which has to be chosen before Triton is imported: tests/kernels/test_triton.py."""

from __future__ import annotations

from kernels.dispatch import interpreted

collect_ignore_glob = [] if interpreted() else ["test_*.py"]
