"""Scripts that do more than define an objective, run as under ``python train.py``."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import cotune
from cotune.cli.main import main
from tests.workers.test_objective_pool import ended, plain_study, table

HEAD = "import os, sys, pathlib, optuna\n"
OBJECTIVE = """
def objective(trial):
    return trial.suggest_float("x", 0, 1)
"""
QUIET = ("--finalists", "0", "--quiet")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the script is started."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(folder: Path, text: str, name: str = "user.py") -> str:
    (folder / name).write_text(HEAD + text)
    return str(folder / name)


def optimize(*arguments: str, n_trials: int = 3, workers: int = 2) -> cotune.RunResult:
    """Run it by the command line, into ``out``."""
    custom, script_arguments = list(arguments), []
    if "--" in custom:
        place = custom.index("--")
        custom, script_arguments = custom[:place], custom[place:]
    options = ["--n-trials", str(n_trials), "--workers", str(workers), "--out", "out", *QUIET]
    main(["optimize", *custom, *options, *script_arguments])
    return cotune.open_run("out")


def config() -> Any:
    return yaml.safe_load(Path("out", "config.yaml").read_text())


def remarks() -> str:
    return "\n".join(config()["remarks"])


def values() -> list[float]:
    return [trial.value or 0.0 for trial in plain_study(Path("out")).trials]


class TestOnce:
    """What a script does at its top level."""

    EFFECTS = """
os.makedirs("checkpoints/a")
print("imported")
log = open("log.txt", "w")
log.write("begun\\n")
def objective(trial):
    log.write(f"{trial.number}\\n")
    log.flush()
    if trial.number == 1 and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), 9)
    return trial.suggest_float("x", 0, 1)
"""

    def test_effects(self, here):
        result = optimize(script(here, self.EFFECTS) + ":objective", n_trials=6)
        assert result.summary.trials.complete == 6
        assert (here / "out" / "output.log").read_text().count("imported") == 1
        lines = (here / "log.txt").read_text().split()
        assert lines[0] == "begun"
        assert sorted(lines[1:]) == ["0", "1", "1", "2", "3", "4", "5"]
        main(
            [
                "resume",
                "out",
                "--objective",
                str(here / "user.py:objective"),
                "--more",
                "1",
                "--quiet",
            ]
        )
        assert len(values()) == 7  # though the script would make its directory once more

    def test_where_forks_are_unsafe(self, here):
        """Each worker imports the script, and finds the directories that the first one made."""
        threads = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
        result = optimize(script(here, threads + self.EFFECTS) + ":objective", n_trials=6)
        assert result.summary.trials.complete == 6
        assert "each worker loads the objective for itself: the script has started th" in remarks()
        assert (here / "out" / "output.log").read_text().count("imported") > 1

    def test_an_open_database(self, here):
        text = """
import sqlite3
rows = sqlite3.connect("rows.db")
def objective(trial):
    trial.suggest_float("x", 0, 1)
    return rows.execute("select 7").fetchone()[0]
"""
        assert optimize(script(here, text) + ":objective").best_value == 7
        assert "for itself: the script holds files open that it reads and writes" in remarks()

    def test_the_process_that_forks_is_killed(self, here):
        text = """
open("imports", "a").write("one ")
os.makedirs("made")
main = os.getpid()
def objective(trial):
    if trial.number == 1 and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(main, 9)
        os.kill(os.getpid(), 9)
    return trial.suggest_float("x", 0, 1)
"""
        result = optimize(script(here, text) + ":objective", n_trials=4)
        assert result.summary.trials.complete == 4
        assert (here / "imports").read_text() == "one one "

    def test_a_file_that_is_read_piece_by_piece(self, here):
        """Workers do not share their place in it."""
        (here / "rows").write_bytes(b"".join(bytes([i]) * 4096 for i in range(50)))
        text = """
rows = open("rows", "rb", buffering=0)
def objective(trial):
    trial.suggest_float("x", 0, 1)
    for i in range(2000):
        rows.seek(i % 50 * 4096)
        assert rows.read(4096) == bytes([i % 50]) * 4096
    return 1.0
"""
        assert optimize(script(here, text) + ":objective").summary.trials.complete == 3

    def test_unseeded_data_is_the_same_for_all(self, here):
        text = """
import numpy
rows = numpy.random.default_rng().random()
def objective(trial):
    trial.set_user_attr("pid", os.getpid())
    trial.set_user_attr("rows", rows)
    import time; time.sleep(0.05)
    return trial.suggest_float("x", 0, 1)
"""
        optimize(script(here, text) + ":objective", n_trials=6)
        trials = plain_study(here / "out").trials
        assert len({trial.user_attrs["pid"] for trial in trials}) == 2
        assert len({trial.user_attrs["rows"] for trial in trials}) == 1


class TestOwnStudy:
    """The script's own study is not run, and its database is as it was."""

    @pytest.mark.parametrize(
        "storage",
        [
            'storage="sqlite:///own.db", study_name="mlp"',
            'storage=optuna.storages.RDBStorage("sqlite:///own.db")',
            'storage=JournalStorage(JournalFileBackend("own.log"))',
            'storage=optuna.storages.journal.JournalStorage(JournalFileBackend("own.log"))',
        ],
    )
    @pytest.mark.parametrize("run", ["study.optimize(objective, n_trials=20)", "study.ask()"])
    def test_is_not_made(self, storage, run, here):
        text = (
            "from optuna.storages import JournalStorage\n"
            "from optuna.storages.journal import JournalFileBackend\n"
            f'study = optuna.create_study({storage}, direction="maximize")\n{OBJECTIVE}'
            'study.enqueue_trial({"x": 0.25})\nstudy.set_user_attr("data", "rows")\n'
            f"{run}\nprint('ran', study.best_params)\n"
        )
        result = optimize(script(here, text) + ":objective")
        assert sorted(os.listdir(here)) == ["out", "user.py"]
        assert "ran" not in (here / "out" / "output.log").read_text()
        custom = plain_study(here / "out")
        assert custom.trials[0].params == {"x": 0.25}
        assert custom.user_attrs == {"data": "rows"}
        assert custom.direction == optuna.study.StudyDirection.MAXIMIZE
        assert result.best_value == max(values())
        assert "the script's own study is not run" in remarks()
        assert "database is left alone" in remarks()
        assert "maximized, as the script's own study says" in remarks()

    def test_load_study(self, here):
        """Its direction is read; nothing is written."""
        storage = "sqlite:///own.db"
        theirs = optuna.create_study(study_name="mlp", storage=storage, direction="maximize")
        theirs.add_trial(optuna.trial.create_trial(value=1.0))
        before = (here / "own.db").read_bytes()
        text = f"""{OBJECTIVE}
study = optuna.load_study(study_name="mlp", storage="sqlite:///own.db")
print("so far:", len(study.trials), study.best_value)
study.optimize(objective, n_trials=5)
"""
        optimize(script(here, text) + ":objective")
        assert config()["direction"] == "maximize"
        assert "for itself" not in remarks()  # no database is open when workers are forked
        assert "so far: 1 1.0" in (here / "out" / "output.log").read_text()
        assert (here / "own.db").read_bytes() == before
        with sqlite3.connect(here / "own.db") as database:
            assert database.execute("select count(*) from trials").fetchone() == (1,)

    def test_load_study_of_a_journal(self, here):
        storage = JournalStorage(JournalFileBackend("own.log"))
        optuna.create_study(study_name="mlp", storage=storage, direction="maximize")
        before = (here / "own.log").read_bytes()
        text = f"""{OBJECTIVE}
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
storage = JournalStorage(JournalFileBackend("own.log"))
optuna.load_study(study_name="mlp", storage=storage).optimize(objective)
"""
        optimize(script(here, text) + ":objective")
        assert config()["direction"] == "maximize"
        assert (here / "own.log").read_bytes() == before

    def test_studies_of_the_objective_are_its_own(self, here):
        """What a script imports from Optuna works in its objective."""
        text = """
from optuna import create_study
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for name, storage in (
        (f"{trial.number}.log", lambda name: JournalStorage(JournalFileBackend(name))),
        (f"{trial.number}.db", lambda name: RDBStorage(f"sqlite:///{name}")),
    ):
        inner = create_study(storage=storage(name), study_name="inner")
        inner.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=1)
        assert os.path.getsize(name) and len(inner.trials) == 1
        try:
            create_study(storage=storage(name), study_name="inner")
        except optuna.exceptions.DuplicatedStudyError:
            continue
        raise AssertionError
    return x
create_study(direction="maximize").optimize(objective)
"""
        result = optimize(script(here, text) + ":objective", n_trials=2)
        assert result.summary.trials.complete == 2

    def test_a_second_time(self, here):
        """A script whose study is there already runs again."""
        optuna.create_study(study_name="mlp", storage="sqlite:///own.db")
        text = f"""{OBJECTIVE}
study = optuna.create_study(study_name="mlp", storage="sqlite:///own.db")
study.optimize(objective)
"""
        assert optimize(script(here, text) + ":objective").summary.state == "complete"

    def test_a_server_is_not_asked(self, here, capsys):
        text = f"""{OBJECTIVE}
optuna.load_study(study_name="mlp", storage="postgresql://u:secret@nowhere/db").optimize(objective)
"""
        name = script(here, text) + ":objective"
        code, error = ended(capsys, "optimize", name, "--out", "out")
        assert (code, error.count("\n")) == (2, 1)
        assert "its study is on a server, which is not asked; give the direction" in error
        assert optimize(name, "--direction", "maximize").summary.state == "complete"
        assert "secret" not in remarks()

    def test_the_objective_knows_it_by_its_name(self, here):
        text = """
study = optuna.create_study()
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    study.set_user_attr("last", trial.number)
    if trial.number == 2:
        study.stop()
    return len(study.get_trials())
study.optimize(objective, n_trials=20)
"""
        result = optimize(script(here, text) + ":objective", n_trials=20, workers=1)
        assert values() == [1, 2, 3]
        assert plain_study(here / "out").user_attrs == {"last": 2}
        assert result.summary.message == "the objective stopped the study"

    def test_its_direction_against_the_asked_one(self, here):
        text = OBJECTIVE + 'optuna.create_study(direction="maximize").optimize(objective)\n'
        optimize(script(here, text) + ":objective", "--direction", "minimize")
        assert config()["direction"] == "minimize"
        assert "minimized as asked for, while the script's own study is maximized" in remarks()

    def test_the_direction_behind_a_guard(self, here):
        text = f"""{OBJECTIVE}
if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective)
"""
        optimize(script(here, text) + ":objective")
        assert config()["direction"] == "maximize"

    def test_what_is_not_used_is_said(self, here):
        text = f"""{OBJECTIVE}
study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
study.optimize(objective, n_trials=3, callbacks=[print])
"""
        optimize(script(here, text) + ":objective")
        assert "not used: the script's sampler, n_trials, callbacks" in remarks()

    def test_several_objectives(self, here, capsys):
        text = OBJECTIVE + 'optuna.create_study(directions=["minimize"] * 2).optimize(objective)\n'
        code, error = ended(capsys, "optimize", script(here, text) + ":objective", "--out", "out")
        assert (code, error.count("\n")) == (2, 1)
        assert "its study has 2 objectives; Cotune optimizes one number" in error
        assert not (here / "out").exists()

    def test_before_the_objective(self, here, capsys):
        text = "optuna.create_study().optimize(lambda trial: 1.0, n_trials=3)\n" + OBJECTIVE
        code, error = ended(capsys, "optimize", script(here, text) + ":objective", "--out", "out")
        assert (code, error.count("\n")) == (2, 1)
        assert "runs a study in line 2 before it defines objective" in error

    def test_a_script_that_runs_cotune(self, here):
        text = f"{OBJECTIVE}import cotune\ncotune.optimize(objective, direction='maximize')\n"
        result = optimize(script(here, text) + ":objective")
        assert result.summary.trials.complete == 3
        assert config()["direction"] == "maximize"
        assert not (here / "runs").exists()


class TestWhereItIs:
    """Where the objective is, and what it needs."""

    def test_behind_the_guard(self, here):
        text = """
def objective(trial):
    return rows * trial.suggest_float("x", 0, 1)
if __name__ == "__main__":
    rows = 3
    optuna.create_study(direction="maximize").optimize(objective)
"""
        assert (optimize(script(here, text) + ":objective").best_value or 0) > 0
        assert "the script runs as main, up to its study" in remarks()

    def test_what_is_not_needed_behind_the_guard_is_not_run(self, here):
        text = OBJECTIVE + 'if __name__ == "__main__":\n    x = 1 / 0\n'
        assert optimize(script(here, text) + ":objective").summary.state == "complete"

    @pytest.mark.parametrize("call", ["main()", 'if __name__ == "__main__":\n    main()'])
    @pytest.mark.parametrize("given", ["objective", "lambda trial: objective(trial)"])
    def test_in_a_function(self, call, given, here):
        text = f"""
import tempfile
def main():
    with tempfile.TemporaryDirectory() as folder:
        def objective(trial):
            assert os.path.isdir(folder)
            return trial.suggest_float("x", 0, 1)
        study = optuna.create_study()
        try:
            study.optimize({given}, n_trials=5)
        except:
            print("failed")
{call}
"""
        result = optimize(script(here, text) + ":objective")
        assert result.summary.trials.complete == 3
        assert "failed" not in (here / "out" / "output.log").read_text()

    @pytest.mark.parametrize("guard", ["if True:", 'if __name__ == "__main__":'])
    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("train", "lambda trial: train(trial, 5)"),
            ("train", "functools.partial(train, rows=5)"),
            ("Train", "Train(5)"),
        ],
    )
    def test_with_arguments_of_its_own(self, name, given, guard, here):
        """As Optuna's FAQ has it."""
        text = f"""
import functools
def train(trial, rows):
    return rows + trial.suggest_float("x", 0, 1)
class Train:
    def __init__(self, rows):
        self.rows = rows
    def __call__(self, trial):
        return train(trial, self.rows)
{guard}
    optuna.create_study().optimize({given}, n_trials=5)
"""
        result = optimize(script(here, text) + f":{name}")
        assert (result.best_value or 0) >= 5
        assert f"the objective is {name} as the script's own study calls it" in remarks()

    def test_as_a_script_is_started(self, here):
        folder = here / "project"
        folder.mkdir()
        (folder / "helpers.py").write_text("ONE = 1\n")
        text = """
import helpers
rows = pathlib.Path("rows.txt").read_text().split()
assert sys.argv == [__file__, "--rows", "2"], sys.argv
assert sys.path[0] == os.path.dirname(__file__)
def objective(trial):
    return len(rows) * trial.suggest_float("x", 0, 1) + helpers.ONE
"""
        (here / "rows.txt").write_text("1 2 3")
        result = optimize(script(folder, text) + ":objective", "--", "--rows", "2")
        assert (result.best_value or 0) > 1

    ARGUMENTS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, required=True)
parser.add_argument("--debug", action="store_true")
args = parser.parse_args()
def objective(trial):
    return trial.suggest_float("x", 0, 1) + args.rows
"""

    def test_arguments(self, here, capsys):
        name = script(here, self.ARGUMENTS) + ":objective"
        code, error = ended(capsys, "optimize", name, "--out", "out")
        assert (code, error.count("\n")) == (2, 1)
        assert "the following arguments are required: --rows; give the script's own argu" in error
        result = optimize(name, "--", "--rows", "7", "--debug")
        assert (result.best_value or 0) > 7
        main(["resume", "out", "--objective", name, "--more", "1", "--quiet"])
        assert values()[3] > 7
        cotune.resume("out", objective=name, more=1, arguments="--rows 30")
        arguments = ["--", "--rows", "50"]
        main(["resume", "out", "--objective", name, "--more", "1", "--quiet", *arguments])
        assert values()[4] > 30
        assert values()[5] > 50

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("%matplotlib inline\n" + OBJECTIVE, "is a command of notebooks, not Python"),
            ("get_ipython().system('ls')\n", "which only notebooks have"),
            ("sys.exit('no data')\n" + OBJECTIVE, "ends itself: no data"),
            ("def main():\n    def objective(trial): pass\n", "makes objective only inside a func"),
            ("async_ = 1\n", "has no function objective; it has none"),
        ],
    )
    def test_where_there_is_none(self, text, message, here, capsys):
        code, error = ended(capsys, "optimize", script(here, text) + ":objective", "--out", "out")
        assert (code, error.count("\n")) == (2, 1)
        assert message in error

    def test_a_notebook(self, here, capsys):
        code, error = ended(capsys, "optimize", "n.ipynb:objective", "--out", "out")
        assert code == 2
        assert "n.ipynb is a notebook; give the function from there" in error

    def test_a_script_that_ends_itself_well(self, here):
        text = OBJECTIVE + "sys.exit(0)\n"
        assert optimize(script(here, text) + ":objective").summary.state == "complete"


def test_a_stop_while_the_script_is_imported(tmp_path):
    """Nothing is left: what the script's study is like is not known yet."""
    text = f"import time\nos.kill({os.getpid()}, 2)\ntime.sleep(60)\n"
    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C; nothing had begun"):
        cotune.optimize(script(tmp_path, text) + ":objective", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_waiting_trials_and_a_stop(tmp_path):
    """What waits when a run is stopped is run when it goes on."""
    text = """
def objective(trial):
    x = trial.suggest_int("x", 0, 100)
    if trial.number == 0:
        for value in (11, 12, 13):
            trial.study.enqueue_trial({"x": value})
    if x == 12 and not pathlib.Path(__file__).with_name("go").exists():
        os.kill(os.getppid(), 9)
        os.kill(DRIVER, 2)
        import time
        time.sleep(60)
    return x
"""
    name = script(tmp_path, f"DRIVER = {os.getpid()}\n" + text) + ":objective"
    out = tmp_path / "out"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        cotune.optimize(name, n_trials=6, workers=1, finalists=0, out=out)
    (tmp_path / "go").touch()
    cotune.resume(out, objective=name)
    trials = plain_study(out).trials
    assert [trial.params["x"] for trial in trials[1:4]] == [11, 12, 13]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert len(table(out / "trials.csv")) == 6
    assert signal.getsignal(signal.SIGINT) is handler
