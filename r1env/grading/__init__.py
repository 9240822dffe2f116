"""Graders: what a response's final answer is, and whether it is right. Pure text in, verdict out.

Nothing here runs what a policy wrote. `sympy` and `math_verify` are imported when first needed.
"""

from __future__ import annotations
