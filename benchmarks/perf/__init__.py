"""How fast and how large we are beside our peers: `python -m benchmarks.perf NAME`.

A benchmark is a module here with `measure(options) -> list[Row]`, named in `benchmarks.perf.__main__`. Both sides run
in strict alternation, so that whatever else happens on the machine falls on both: as subprocesses
(`process.alternate`), or, for the ops of `kernels`, call by call in one process. Rows hold medians with their ranges
(`rows.Row`).
"""
