"""A run's directory: what is in it, how it is saved, resumed and finished.

    config.yaml            resolved configuration
    metrics.jsonl          one row a step
    rollouts.jsonl         a sample of rollouts
    state/step-000040/     the last save: policy, optimizer, step, what was measured so far
    checkpoint/            the trained policy as a Hugging Face directory     } written
    report.html            the page to look at                                } when
    manifest.json          hashes, versions, metrics; present iff finished    } finished

A save is written beside its place and renamed into it, so a kill at any moment leaves the previous one whole.
Resuming drops the log rows that came after the last save: they will be written again, and equal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from r1env import records
from r1env.errors import CheckpointError, ConfigError, R1Error, RunError


class Interrupted(R1Error, KeyboardInterrupt):
    """SIGINT or SIGTERM reached a run that has saved its work."""

    exit_code = 130


class Busy(RunError):
    """Another process is working in the run directory."""


def cache_dir() -> Path:
    """Where derived files live: `R1_CACHE`, by default `~/.cache/r1`."""
    return Path(os.environ.get("R1_CACHE") or Path.home() / ".cache" / "r1").expanduser()


class Stateful(Protocol):
    """What training changes, after torch's convention; of tensors and plain values."""

    def state_dict(self) -> dict[str, Any]:
        """What must be stored to go on exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Puts it back."""


class Run:
    """One run directory, locked while a process works in it.

    Args:
        path: the directory; created if absent.
        config: the command's checked configuration.

    Attributes:
        finished: a manifest is present: there is nothing left to do.
        step: the first step that is still to be done.
        notes: small JSON-able facts carried across a resume (evaluations before training, counters).
        inputs: path → sha256 of what the run is made from.

    Raises:
        RunError: the directory cannot be written, another process works in it, or its state is damaged.
        ConfigError: it belongs to a run with another configuration.
    """

    def __init__(self, path: Path, config: Any) -> None:
        self.path, self.config = path, config
        self.step = 0
        self.notes: dict[str, Any] = {}
        self.inputs: dict[str, str] = {}
        self._stop_requested = False
        self._started = time.time()
        try:
            self._is_new = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            self._lock = open(path / ".lock", "w")  # noqa: SIM115 (held for the life of the run)
        except OSError as error:
            raise RunError(
                f"cannot write the run directory {path}: {error.strerror}; choose run.dir=DIR"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy(
                f"another process is working in {path}; wait for it, or choose another run.dir"
            ) from error
        self._check_config()
        self.finished = (path / records.MANIFEST).exists() and bool(records.Manifest.read(path))
        self.metrics = records.Jsonl(path / "metrics.jsonl")
        self.rollouts = records.Jsonl(path / "rollouts.jsonl")
        if not self.finished:
            for leftover in [*path.glob(".tmp-*"), *path.glob("state/.tmp-*")]:
                shutil.rmtree(leftover, ignore_errors=True)
                leftover.unlink(missing_ok=True)

    @classmethod
    def open(cls, command: str, config: Any) -> Run:
        """The run of a configuration: `run.dir`, or a new directory under runs/; says so if it is finished."""
        run = cls(Path(config.run.dir) if config.run.dir else new_run_dir(command, config.env.id), config)
        if run.finished:
            print(
                f"{run.path} is finished; nothing to do (choose another run.dir to train again)",
                file=sys.stderr,
            )
        return run

    # --- configuration -------------------------------------------------------------------------------

    def _check_config(self) -> None:
        file = self.path / "config.yaml"
        mine = _comparable(dataclasses.asdict(self.config))
        if not file.exists():
            if any(self.path.glob("state/step-*")):
                raise RunError(f"{file} is missing: restore it, or choose another run.dir")
            with _writing(self.path):
                records.write_atomic(file, OmegaConf.to_yaml(OmegaConf.structured(self.config)))
            return
        try:
            loaded = OmegaConf.to_container(OmegaConf.load(file))
            if not isinstance(loaded, dict) or not {"env", "model", "agent"} <= set(loaded):
                raise ValueError("it is no configuration")
            theirs = _comparable(loaded)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise RunError(f"{file} is damaged: restore it, or choose another run.dir") from error
        changed = sorted(k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k))
        if changed:
            some = ", ".join(f"{k} ({theirs.get(k)} there, {mine.get(k)} now)" for k in changed[:3])
            raise ConfigError(
                f"{self.path} holds a run with other settings: {some}{', …' if len(changed) > 3 else ''}; "
                "give the same settings to resume it, or another run.dir"
            )

    # --- save and resume -----------------------------------------------------------------------------

    def save(self, step: int, policy: Any, optimizer: torch.optim.Optimizer, **more: Stateful) -> None:
        """Store all that the steps from `step` on depend on, then drop the previous save.

        Args:
            step: the last one that is done.
            policy: its trainable state is stored.
            optimizer: and its state,
            more: and that of whatever else training changes, by the name of its file.
        """
        self.step = step
        final = self.path / "state" / f"step-{step:06d}"
        if final.exists():  # whole, as it was renamed into place; taking it away first could lose everything
            return
        partial = self.path / "state" / f".tmp-{step:06d}"
        with _writing(self.path, partial):
            partial.mkdir(parents=True, exist_ok=True)
            _store(policy.trainable_state(), partial / "policy.pt")
            for name, part in {"optimizer": optimizer, **more}.items():
                _store(part.state_dict(), partial / f"{name}.pt")
            files = {f.name: records.sha256_file(f) for f in sorted(partial.iterdir())}
            state = {"step": step, "notes": self.notes, "inputs": self.inputs, "files": files}
            records.write_json_atomic(partial / "state.json", state)
            os.replace(partial, final)
        for old in (self.path / "state").glob("step-*"):
            if old != final:
                shutil.rmtree(old, ignore_errors=True)

    def resume(
        self, policy: Any, optimizer: torch.optim.Optimizer, inputs: Mapping[str, str], **more: Stateful
    ) -> bool:
        """Load the last save, if there is one, and drop the log rows after it.

        Args:
            policy: gets the saved weights.
            optimizer: gets the saved state.
            inputs: path → sha256 of what the run is made from; a resumed run must be made from the same.
            more: as in `save`; each gets its state.

        Raises:
            RunError: naming the file that is missing, damaged, or another than when the run began.
        """
        saves = sorted(p for p in (self.path / "state").glob("step-*") if p.name[5:].isdigit())
        self.inputs = dict(inputs)
        if saves:
            files = self._verified(saves[-1], {"policy", "optimizer", *more})
            if changed := sorted(k for k in {*inputs, *self.inputs} if inputs.get(k) != self.inputs.get(k)):
                raise RunError(
                    f"{changed[0]} is not what it was when the run in {self.path} began; restore it, or choose "
                    "another run.dir"
                )
            policy.load_trainable_state(torch.load(files / "policy.pt", weights_only=True))
            for name, part in {"optimizer": optimizer, **more}.items():
                part.load_state_dict(torch.load(files / f"{name}.pt", weights_only=True))
        for log in (self.metrics, self.rollouts):
            try:
                log.truncate_to(lambda row: bool(saves) and row["step"] <= self.step)
            except (KeyError, TypeError) as error:
                raise RunError(f"{log.path} holds a row without a step: it is damaged; restore it") from error
        return bool(saves)

    def _verified(self, save: Path, parts: set[str]) -> Path:
        advice = f"delete {save} to start this run anew, or restore the file"
        try:
            state = json.loads((save / "state.json").read_text())
            self.step, self.notes = int(state["step"]), dict(state["notes"])
            self.inputs, hashes = dict(state["inputs"]), dict(state["files"])
            if self.step != int(save.name[5:]) or set(hashes) != {f"{name}.pt" for name in parts}:
                raise ValueError("it is not what was saved")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{save / 'state.json'} is missing or damaged; {advice}") from error
        for name, expected in hashes.items():
            if not (save / name).exists() or records.sha256_file(save / name) != expected:
                raise RunError(f"{save / name} is missing or damaged; {advice}")
        return save

    # --- logs ----------------------------------------------------------------------------------------

    def log(self, row: Mapping[str, Any], rollouts: list[dict[str, Any]]) -> None:
        """Append one step to metrics.jsonl and its sampled rollouts to rollouts.jsonl."""
        with _writing(self.path):
            self.metrics.append(row)
            for rollout in rollouts:
                self.rollouts.append(rollout)

    # --- the end -------------------------------------------------------------------------------------

    def finish(self, policy: Any, tokenizer: Any, metrics: Mapping[str, Any]) -> None:
        """Write checkpoint/, report.html and, last, manifest.json.

        Args:
            policy: the trained policy.
            tokenizer: its tokenizer, saved beside it.
            metrics: what `manifest.json` reports.
        """
        import model

        target = self.path / "checkpoint"
        with _writing(self.path):
            shutil.rmtree(target, ignore_errors=True)
            try:
                model.save(policy, target, tokenizer=tokenizer)
            except CheckpointError as error:
                raise RunError(str(error)) from error
            self.conclude([file for file in sorted(target.iterdir()) if file.is_file()], metrics)

    def conclude(self, outputs: Iterable[Path], metrics: Mapping[str, Any]) -> None:
        """Write report.html and, last, manifest.json.

        Args:
            outputs: the files that the run leaves.
            metrics: what `manifest.json` reports.
        """
        from agents.report import write_report

        with _writing(self.path):
            manifest = records.Manifest(
                inputs=self.inputs,
                outputs={str(file.relative_to(self.path)): records.sha256_file(file) for file in outputs},
                config_sha256=records.sha256_file(self.path / "config.yaml"),
                seed=self.config.seed,
                metrics=dict(metrics),
                command=("python", "-m", f"agents.{Path(sys.argv[0]).stem}", *sys.argv[1:]),
            )
            write_report(self.path, manifest=manifest)
            manifest.write(self.path)
        self.finished = True

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Release the directory; one that a failed start has just made, without any work in it, goes again."""
        self.metrics.close()
        self.rollouts.close()
        if kind and self._is_new and not self._holds_work():
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def _holds_work(self) -> bool:
        """Whether there is anything that would have to be made again: a logged step, a save, sampled data."""
        begun = ("config.yaml", "rollouts.jsonl", "metrics.jsonl", ".lock")
        return (self.path / "metrics.jsonl").stat().st_size > 0 or any(
            child.name not in begun and (child.is_file() or any(child.iterdir()))
            for child in self.path.iterdir()
        )

    # --- signals -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Within: the first SIGINT or SIGTERM asks for a stop after the current step, a second one stops now."""

        def request(number: int, frame: Any) -> None:
            if self._stop_requested:
                raise KeyboardInterrupt
            self._stop_requested = True
            print("stopping after this step; once more to stop at once", file=sys.stderr)

        try:
            previous = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever owns it handles signals
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stop_if_asked(self, step: int, policy: Any, optimizer: torch.optim.Optimizer, **more: Stateful) -> None:
        """Between steps: save and leave if a signal asked for it.

        Raises:
            Interrupted: after saving.
        """
        if self._stop_requested:
            self.save(step, policy, optimizer, **more)
            self.leave_if_asked(step)

    def leave_if_asked(self, step: int) -> None:
        """Between steps whose work is stored already: leave if a signal asked for it.

        Raises:
            Interrupted: it did.
        """
        if self._stop_requested:
            raise Interrupted(
                f"interrupted after step {step}, saved; the same command with run.dir={self.path} resumes"
            )


def new_run_dir(command: str, env_id: str) -> Path:
    """A fresh directory name under runs/."""
    name = env_id.rsplit("/", 1)[-1].lower()
    base = Path("runs") / f"{command}-{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return next(p for p in (base, *(Path(f"{base}-{i}") for i in range(2, 1000))) if not p.exists())


def _comparable(config: Any) -> dict[str, Any]:
    """Dotted leaf values without what may differ between a start and its resume."""
    flat: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{prefix}{key}.")
        else:
            flat[prefix[:-1]] = node

    walk(config, "")
    return {k: v for k, v in flat.items() if not k.startswith(("run.", "logger."))}


def _store(value: Any, file: Path) -> None:
    """`torch.save`, with a failed write as the `OSError` it is (torch's archive writer loses the reason)."""
    try:
        torch.save(value, file)
    except RuntimeError as error:
        full = shutil.disk_usage(file.parent).free < 1 << 20
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, os.strerror(code), str(file)) from error


@contextlib.contextmanager
def _writing(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Turn a failed write (full disk, permissions) into one clear error and leave nothing half-written."""
    try:
        yield
    except OSError as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, R1Error):
            raise
        raise RunError(
            f"cannot write to {path}: {error.strerror or error}; the last save is intact, free space and resume"
        ) from error
