"""Our engines and our benchmarks inside EleutherAI's lm-eval (0.4.13), which is what `import lm_eval` still means.

`model.EngineLM` is an lm-eval model over any engine of ours; `export.write` makes an lm-eval task of a benchmark,
whose answers `grading` reads with r1env's graders.
"""
