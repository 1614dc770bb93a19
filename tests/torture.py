"""``python -m tests.torture``: runs are killed at random instants, resumed, and looked at.

Drivers and workers get SIGKILL, runs go on with ``cotune resume``, until all kills are spent; then
each run is let to its end. Checked after every kill and at the end: trials that had finished are
there, once and unchanged; no process outlives its driver; the run completes, with as many trials as
it was asked for; its study loads and agrees with its table. With one worker that was not killed
itself, table and weights must also be those of a run that nobody killed.
"""

from __future__ import annotations

import argparse
import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cotune.runs.directory import RunDirectory
from cotune.study.journal import load_study
from tests.support.processes import lives, workers_of

_COTUNE = (sys.executable, "-m", "cotune")
_ORPHAN_SECONDS = 15.0
_HANG_SECONDS = 240.0

Row = dict[str, str]


@dataclass(frozen=True)
class Case:
    """What is run."""

    data: str
    workers: int | Literal["max"]
    n_trials: int
    model: str = "mlp"
    executor: str = "processes"
    address: str = "local"

    def command(self, out: Path, seed: int) -> list[str]:
        options = f"--n-trials {self.n_trials} --workers {self.workers} --model {self.model}"
        options += f" --seed {seed} --checkpoint 1s --lanes 4 --quiet"
        if self.executor == "ray":
            options += f" --executor ray --address {self.address}"
        return [*_COTUNE, "run", self.data, *options.split(), "--out", str(out)]


CASES = (
    Case("digits", 1, 14),
    Case("digits", 2, 20),
    Case("fashion-mnist-small", 2, 12),
    Case("digits", 2, 8, "auto"),
)


RAY_CASES = (Case("digits", 2, 150, executor="ray"),)


@dataclass
class Count:
    """What came of it all."""

    driver_kills: int = 0
    worker_kills: int = 0
    runs: int = 0
    seen: int = 0
    problems: list[str] = field(default_factory=list)


def table(out: Path) -> dict[str, Row]:
    """Finished trials by number; a torn last line is left out, as in every reader."""
    path = out / "trials.csv"
    if not path.exists():
        return {}
    text = path.read_text()
    rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    return {row["number"]: row for row in rows}


class Torture:
    """One run after another.

    Args:
        kills: Altogether.
        seed: Of the instants.
        say: Print what happens.
        workers: Workers are killed too.
        longest: Seconds from one kill to the next, at most.
    """

    def __init__(
        self,
        kills: int,
        seed: int,
        say: bool = True,
        workers: bool = True,
        longest: float = 7.0,
    ) -> None:
        self._left = kills
        self._kills_workers = workers
        self._random = random.Random(seed)
        self._say = say
        self._longest = longest
        self.count = Count()

    def go(self, cases: tuple[Case, ...] = CASES, kills_a_run: int = 12) -> Count:
        number = 0
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            while self._left > 0:
                case = cases[number % len(cases)]
                self._one_run(case, Path(folder) / f"run-{number}", number, kills_a_run)
                number += 1
        return self.count

    def go_exact(self, runs: int, kills_a_run: int = 3) -> Count:
        """One run again and again, killed at other instants each time."""
        case = Case("digits", 1, 14)
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            for number in range(runs):
                self._left = kills_a_run
                self._one_run(case, Path(folder) / f"run-{number}", 0, kills_a_run)
        return self.count

    def _one_run(self, case: Case, out: Path, seed: int, kills: int) -> None:
        self.count.runs += 1
        worker_kills = self.count.worker_kills
        before: dict[str, Row] = {}
        command = case.command(out, seed)
        while kills > 0 and self._left > 0:
            with open(out.with_suffix(".stderr"), "w") as errors:
                driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
            killed = self._kill_something(driver)
            if killed == "nothing":
                break
            kills -= 1
            before = self._look(out, before, case.workers != 1, killed)
            if killed == "worker":
                end = time.monotonic() + _HANG_SECONDS
                while driver.poll() is None and time.monotonic() < end and kills > 0 and self._left:
                    killed = self._kill_something(driver)
                    if killed == "nothing":
                        break
                    kills -= 1
                    before = self._look(out, before, case.workers != 1, killed)
                    if killed == "driver":
                        break
                if killed == "worker":
                    self._wait(driver, out)
                    before = self._look(out, before, case.workers != 1, "end")
            command = self._next_command(out, command)
        if driver_code := self._wait(driver, out):
            if driver_code == -signal.SIGKILL:
                self._finish(command, out)
            else:
                self._problem(f"{out.name}: exit code {driver_code}", out)
        self._check(case, out, seed, before, self.count.worker_kills > worker_kills)

    def _next_command(self, out: Path, before: list[str]) -> list[str]:
        """Return what goes on with a run that was killed."""
        if (out / "config.yaml").exists():
            return [*_COTUNE, "resume", str(out), "--quiet"]
        # Nothing was made before the kill where even config.yaml is missing.
        for left in out.iterdir() if out.exists() else ():
            left.unlink()
        return before

    def _finish(self, command: list[str], out: Path) -> None:
        with open(out.with_suffix(".stderr"), "w") as errors:
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        if code := self._wait(driver, out):
            self._problem(f"{out.name}: exit code {code}", out)

    def _kill_something(self, driver: subprocess.Popen[bytes]) -> str:
        """The driver or a worker, after a while; "nothing" if the run was over before."""
        try:
            driver.wait(self._random.uniform(0.3, self._longest))
            return "nothing"
        except subprocess.TimeoutExpired:
            pass
        workers = workers_of(driver.pid)
        self._left -= 1
        if workers and self._kills_workers and self._random.random() < 0.4:
            try:
                subprocess.run(["kill", "-9", str(self._random.choice(workers))], check=False)
            finally:
                self.count.worker_kills += 1
            return "worker"
        driver.kill()
        driver.wait()
        self.count.driver_kills += 1
        self._see_ended(lambda: [pid for pid in workers if lives(pid)])
        return "driver"

    def _see_ended(
        self, left: Callable[[], list[int]], seconds: float = _ORPHAN_SECONDS, what: str = "orphans"
    ) -> None:
        """See that processes end soon."""
        end = time.monotonic() + seconds
        while pids := left():
            if time.monotonic() > end:
                self._problem(f"{what}: {pids}")
                break
            time.sleep(0.05)

    def _look(self, out: Path, before: dict[str, Row], exact: bool, killed: str) -> dict[str, Row]:
        """Finished trials of now, if those of before are among them."""
        now = table(out)
        self._tell(f"{out.name}: {killed}, {len(now)} trials have finished")
        if not exact:
            return before | now  # what came after the checkpoint comes again
        for number, row in before.items():
            if now.get(number) != row:
                self._problem(f"{out.name}: trial {number} was {row}, is {now.get(number)}")
        return now

    def _wait(self, driver: subprocess.Popen[bytes], out: Path) -> int:
        try:
            return driver.wait(_HANG_SECONDS)
        except subprocess.TimeoutExpired:
            driver.kill()
            self._problem(f"{out.name}: hangs", out)
            return driver.wait()

    def _check(
        self, case: Case, out: Path, seed: int, before: dict[str, Row], disturbed: bool
    ) -> None:
        after = table(out)
        with open(out / "trials.csv") as file:
            numbers = Counter(row["number"] for row in csv.DictReader(file))
        if len(after) != case.n_trials or max(numbers.values()) > 1:
            self._problem(f"{out.name}: {len(after)} trials of {case.n_trials}: {numbers}")
        self.count.seen += len(before)
        own = {"seconds"} if case.workers == 1 else set()  # what comes again takes its own time
        for number, row in before.items():
            if _without(after.get(number, {}), own) != _without(row, own):
                self._problem(f"{out.name}: trial {number} was {row}, is {after.get(number)}")
        run = RunDirectory.open(out)
        if run.summary().state != "complete":
            self._problem(f"{out.name}: {run.summary().state}: {run.summary().message}")
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        in_study = {
            str(trial.number): states.get(trial.state.name, trial.state.name)
            for trial in load_study(run.journal_path).get_trials(deepcopy=False)
        }
        if in_study != {number: row["state"] for number, row in after.items()}:
            self._problem(f"{out.name}: study and table differ")
        if run.checkpoint_path.exists():
            self._problem(f"{out.name}: a checkpoint is left")
        if case.workers == 1 and not disturbed:
            whole = out.with_name(f"whole-{seed}")
            if not whole.exists():
                subprocess.run(case.command(whole, seed), check=True, stdout=subprocess.DEVNULL)
            if [_without(row, own) for row in table(whole).values()] != [
                _without(row, own) for row in after.values()
            ]:
                self._problem(f"{out.name}: the table is not that of a run that nobody killed")
            weights = Path("best") / "model.safetensors"
            if (whole / weights).read_bytes() != (out / weights).read_bytes():
                self._problem(f"{out.name}: the weights are not those of a run that nobody killed")

    def _problem(self, text: str, out: Path | None = None) -> None:
        if out is not None and out.with_suffix(".stderr").exists():
            text += ": " + out.with_suffix(".stderr").read_text()[-500:]
        self.count.problems.append(text)
        print("PROBLEM", text, flush=True)

    def _tell(self, text: str) -> None:
        if self._say:
            print(f"{self.count.driver_kills + self.count.worker_kills:4} {text}", flush=True)


def _without(row: Row, names: set[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--exact",
        type=int,
        metavar="RUNS",
        help="instead: so many runs with one worker, each killed three times, which must come to "
        "the table and the weights of one that nobody killed",
    )
    parser.add_argument(
        "--executor",
        choices=("processes", "ray"),
        default="processes",
        help="ray: a cluster on this machine; its actors and the gateway are killed too",
    )
    options = parser.parse_args()
    began = time.monotonic()
    if options.exact:
        count = Torture(0, options.seed, workers=False).go_exact(options.exact)
    elif options.executor == "ray":
        count = Torture(options.kills, options.seed, longest=20.0).go(RAY_CASES)
    else:
        count = Torture(options.kills, options.seed).go()
    print(
        f"{count.driver_kills} kills of drivers and {count.worker_kills} of workers in "
        f"{count.runs} runs, {time.monotonic() - began:.0f} s; {count.seen} finished trials were "
        f"seen before a kill; {len(count.problems)} problems"
    )
    sys.exit(bool(count.problems))


if __name__ == "__main__":
    main()
