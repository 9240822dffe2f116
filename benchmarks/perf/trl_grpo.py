"""TRL's side of the benchmark `grpo`, run as a subprocess by `benchmarks.perf.grpo`.

`policy DIR` writes the checkpoint that both sides start from; `train POLICY OUT` trains, and writes
OUT/report.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.perf.grpo import BETAS, ENV, GROUP, LR, PROMPTS
from r1env import records


def save_policy(directory: Path) -> None:
    """The tiny preset with random weights, and its tokenizer."""
    import model
    from model import presets, tokenizer

    model.save(presets.tiny(seed=0), directory, tokenizer=tokenizer.build())


def train(given: argparse.Namespace) -> None:
    """Steps of GRPOTrainer; the report holds each step's seconds and sampled tokens."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    if given.products == "bf16":
        backends: Any = torch.backends  # its annotations lack this one
        backends.mkldnn.matmul.fp32_precision = "bf16"
    env = ENV.make()
    tasks = [env.task(index=i, split="train") for i in range(given.seed, given.seed + given.steps * PROMPTS)]
    tokenizer = AutoTokenizer.from_pretrained(given.policy)
    policy = AutoModelForCausalLM.from_pretrained(
        given.policy,
        dtype=torch.float32,
        attn_implementation=given.attention,
        experts_implementation=given.experts,
    )
    tokens: list[int] = []

    def reward(completion_ids: list[list[int]], number: list[int], **unused: Any) -> list[float | None]:
        tokens.append(sum(map(len, completion_ids)))
        # with the tags, which are special tokens and which TRL's own text lacks
        texts = tokenizer.batch_decode(completion_ids, skip_special_tokens=False)
        return [env.grade(tasks[i], text).reward for i, text in zip(number, texts, strict=True)]

    class Clock(TrainerCallback):
        """Seconds from before generation to after the optimizer's update; fetching the batch is left out."""

        def __init__(self) -> None:
            self.step_s: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self._start = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.step_s.append(time.perf_counter() - self._start)

    clock = Clock()
    trainer = GRPOTrainer(
        model=policy,
        processing_class=tokenizer,
        reward_funcs=reward,
        train_dataset=Dataset.from_list(
            [{"prompt": list(task.messages), "number": i} for i, task in enumerate(tasks)]
        ),
        callbacks=[clock],
        args=GRPOConfig(
            output_dir=str(given.out),
            seed=given.seed,
            use_cpu=True,
            bf16=False,
            max_steps=given.steps,
            per_device_train_batch_size=PROMPTS * GROUP,
            gradient_accumulation_steps=1,
            num_generations=GROUP,
            max_completion_length=given.tokens,
            generation_kwargs={"min_new_tokens": given.tokens},
            temperature=1.0,
            learning_rate=LR,
            lr_scheduler_type="constant",
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            weight_decay=0.0,
            max_grad_norm=1.0,
            beta=0.0,
            gradient_checkpointing=False,
            use_liger_kernel=given.layers == "liger",
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.train()
    records.write_json_atomic(given.out / "report.json", {"step_s": clock.step_s, "tokens": tokens})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.trl_grpo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    policy = commands.add_parser("policy")
    policy.add_argument("policy", type=Path)
    run = commands.add_parser("train")
    run.add_argument("policy", type=Path)
    run.add_argument("out", type=Path)
    run.add_argument("--tokens", type=int, required=True)
    run.add_argument("--steps", type=int, required=True)
    run.add_argument("--seed", type=int, required=True)
    run.add_argument("--attention", required=True)
    run.add_argument("--experts", required=True)
    run.add_argument("--products", choices=("float32", "bf16"), default="float32")
    run.add_argument("--layers", choices=("torch", "liger"), default="torch")
    return parser


if __name__ == "__main__":
    arguments = _parser().parse_args()
    if arguments.command == "policy":
        save_policy(arguments.policy)
    else:
        train(arguments)
