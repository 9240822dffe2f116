"""How fast and how large we are beside our peers: `python -m benchmarks.perf NAME`.

A benchmark is a module here with `measure(options) -> list[Row]`, named in `benchmarks.perf.__main__`. It runs
both sides as subprocesses in strict alternation (`process.alternate`), so that whatever else happens on the
machine falls on both, and gives medians with their ranges (`rows.Row`).
"""
