"""The methods that ``benchmarks.anytime`` compares: how each is started and read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import tutorial_space
from benchmarks.records import Record


class RunFailedError(Exception):
    """A run left no result; the message is one line."""


@dataclass(frozen=True)
class Method:
    """A way to tune a network in a given time.

    Attributes:
        needs: Packages that it imports and Cotune does not.
    """

    name: str
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.needs if find_spec(package) is None]

    def command(self, dataset: str, budget: float, seed: int, folder: Path) -> list[str]:
        """Starts a run that leaves its result in the folder."""
        raise NotImplementedError

    def read(self, folder: Path) -> dict[str, Any]:
        """The figures of a run that has ended, named as in :class:`Record`.

        Raises:
            RunFailedError: There are none.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Peer(Method):
    """A script of :mod:`benchmarks.peers`."""

    script: str = ""

    def command(self, dataset: str, budget: float, seed: int, folder: Path) -> list[str]:
        command = [sys.executable, "-m", f"benchmarks.peers.{self.script}", dataset]
        command += ["--timeout", f"{budget:g}", "--seed", str(seed)]
        return [*command, "--out", str(folder / "result.json")]

    def read(self, folder: Path) -> dict[str, Any]:
        try:
            result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        except OSError:
            raise RunFailedError("it left no result") from None
        return result


@dataclass(frozen=True)
class Cotune(Method):
    """``cotune run`` with the given options, by default in the same space as the peers."""

    options: tuple[str, ...] = ()

    def command(self, dataset: str, budget: float, seed: int, folder: Path) -> list[str]:
        command = [sys.executable, "-m", "cotune", "run", dataset, "--quiet"]
        command += ["--timeout", f"{budget:g}s", "--seed", str(seed)]
        return [*command, *self.options, "--out", str(folder / "run")]

    def read(self, folder: Path) -> dict[str, Any]:
        command = [sys.executable, "-m", "cotune", "show", str(folder / "run"), "--json"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        if shown.returncode != 0:
            raise RunFailedError(last_line(shown.stderr))
        return figures(json.loads(shown.stdout))


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    """A record's figures out of what ``cotune show --json`` prints.

    Raises:
        RunFailedError: The run has no final model.
    """
    best, final, trials = summary["best"], summary["final"], summary["trials"]
    if best is None or final is None:
        raise RunFailedError(summary["message"] or f"its state is {summary['state']}")
    search_best = best["validation_accuracy"]
    announced = final.get("validation_accuracy_mean")
    return {
        "announced": search_best if announced is None else announced,
        "search_best": search_best,
        "test_accuracy": final["test_accuracy"],
        "trials": sum(trials.values()),
    }


_SAME_SPACE = ("--space", str(tutorial_space.PATH))
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Peer("tutorial", script="tutorial_script"),
        Peer("optuna", script="optuna_lean"),
        Peer("ray", ("ray",), script="ray_asha"),
        Peer("keras", ("keras", "keras_tuner"), script="keras_hyperband"),
        Cotune(
            "top-k",
            options=(*_SAME_SPACE, "--no-portfolio", "--sampler", "random", "--pruner", "top-k"),
        ),
        Cotune(
            "random",
            options=(*_SAME_SPACE, "--no-portfolio", "--sampler", "random", "--pruner", "none"),
        ),
        Cotune("cotune", options=_SAME_SPACE),
        Cotune("cotune-mlp", options=("--model", "mlp")),
    )
}


def run(method: Method, dataset: str, budget: float, seed: int) -> Record:
    """Run a method once, as a process of its own, and record what came of it."""
    with tempfile.TemporaryDirectory(prefix="anytime-") as name:
        folder = Path(name)
        command = method.command(dataset, budget, seed, folder)
        began = time.perf_counter()
        # Three times the budget and a minute: what takes longer hangs.
        error = _run_process(command, 3 * budget + 60, folder / "stderr")
        seconds = time.perf_counter() - began
        try:
            found = {} if error else method.read(folder)
        except RunFailedError as failure:
            error, found = str(failure), {}
    return Record(method.name, dataset, budget, seed, round(seconds, 2), **found, error=error)


def _run_process(command: Sequence[str], limit: float, stderr: Path) -> str:
    """Run a process to its end; returns why it failed, or ""."""
    # Into a file: a pipe would stay open as long as any of its own processes lives.
    with open(stderr, "w") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return f"it was killed after {limit:g} s"
            raise
    if code == 0:
        return ""
    return last_line(stderr.read_text(errors="replace")) or f"it ended with exit code {code}"


def last_line(text: str) -> str:
    """The last line that is not blank, or ""."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
