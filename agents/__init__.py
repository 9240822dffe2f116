"""Training: each algorithm is one script read downward, over small tested helpers.

`python -m agents.grpo`, `python -m agents.sft`; `--help` says the rest. Importing this package loads no torch.
"""
