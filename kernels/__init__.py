"""Kernels: compute that is worth writing by hand, each beside the plain form that specifies it.

Imports neither torch nor anything of ours. The name is also that of a distribution of Hugging Face's, which is another
thing; transformers imports it where it is installed, and would find this package instead.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"'kernels' here is r1-gym's package and has no {name!r}. If something asked for Hugging Face's distribution of "
        "the same name, the two cannot share an environment: pip uninstall kernels"
    )
