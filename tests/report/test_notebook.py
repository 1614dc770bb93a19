"""Cotune in a notebook: outputs of cells, and a real kernel."""

from __future__ import annotations

import collections
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import cotune
from cotune.report.notebook.dataset import dataset_html
from cotune.report.notebook.front_end import has_front_end
from cotune.report.notebook.markup import block, curve, heading, line, table, tiles

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> cotune.RunResult:
    folder = tmp_path_factory.mktemp("golden") / "complete"
    shutil.copytree(GOLDEN / "complete", folder)
    return cotune.open_run(folder)


class TestMarkup:
    def test_texts_are_inert(self):
        bad = "<script>alert(1)</script>"
        page = block(
            heading(bad), line(bad), tiles([(bad, bad, bad)]), table([bad, bad], [(bad, 1)])
        )
        assert "<script" not in page
        assert page.count("&lt;script&gt;") == 8

    def test_a_curve_needs_two_values(self):
        assert curve([0.5]) == ""
        assert curve([0.5, 0.5]).startswith("<svg")
        assert "nan" not in curve([0.1, 0.9, 0.4])


class TestResult:
    def test_html(self, result):
        page = result._repr_html_()
        assert "Test accuracy" in page
        assert "the best hyperparameters" in page
        assert str(result.path) in page
        for name in result.best_params:
            assert name in page

    def test_html_of_every_golden_run(self, tmp_path):
        for name in ("killed", "objective", "objective-killed"):
            shutil.copytree(GOLDEN / name, tmp_path / name)
            assert "Trials" in cotune.open_run(tmp_path / name)._repr_html_()

    def test_trials(self, result):
        frame = result.trials
        assert isinstance(frame, pd.DataFrame)
        assert frame.index.name == "trial"
        assert list(frame.columns[:5]) == ["state", "value", "epochs", "seconds", "reason"]
        by_number = {trial.number: trial for trial in result.study.trials}
        for number, row in frame.iterrows():
            for name, value in by_number[number].params.items():
                assert row["params_epochs" if name == "epochs" else name] == value
        assert frame["lr"].dtype.kind == "f"

    @pytest.mark.parametrize(
        "name",
        [
            "history",
            "curves",
            "learning",
            "importances",
            "slices",
            "parallel",
            "confusion",
            "calibration",
            "columns",
            "mistakes",
            "samples",
        ],
    )
    def test_plots_are_plotly_figures(self, result, name):
        figure = getattr(result, f"plot_{name}")()
        assert type(figure).__module__ == "plotly.graph_objs._figure"
        assert figure.layout.title.text
        assert figure.to_json()

    def test_curves_of_a_metric(self, result):
        assert "loss" in result.plot_curves("loss").layout.title.text
        with pytest.raises(ValueError, match="is not one of"):
            result.plot_curves("speed")

    def test_learning_shows_both_parts(self, result):
        figure = result.plot_learning("accuracy")
        assert [trace.name for trace in figure.data] == ["training accuracy", "validation accuracy"]
        best = result.summary.best.number
        curve = result._run.tables.curves()[best]
        assert list(figure.data[0].y) == pytest.approx([r.train_accuracy for r in curve], abs=1e-4)
        assert list(figure.data[1].y) == pytest.approx(
            [r.scores["accuracy"] for r in curve], abs=1e-4
        )

    def test_predict_and_evaluate(self, result):
        data = GOLDEN / "people.csv"
        assert len(result.predict(data)) == len(pd.read_csv(data))
        assert result.evaluate(data).accuracy > 0


class TestDataset:
    def test_a_table(self):
        page = dataset_html(cotune.read(GOLDEN / "people.csv"))
        frame = pd.read_csv(GOLDEN / "people.csv")
        assert "Test rows" in page
        for name in frame.columns[:-1]:
            assert name in page

    def test_images(self):
        page = dataset_html(cotune.read("digits"))
        assert "data:image/png;base64," in page
        assert "8 x 8" in page


def test_there_is_no_front_end_here():
    assert not has_front_end()


def execute(*cells: str) -> tuple[Any, collections.Counter[str]]:
    """Run cells in a real kernel; return the notebook and its messages by type."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    messages: collections.Counter[str] = collections.Counter()
    process = client.process_message

    def counted(message: Any, cell: Any, index: int) -> Any:
        messages[message["header"]["msg_type"]] += 1
        return process(message, cell, index)

    client.process_message = counted
    client.execute()
    return notebook, messages


@pytest.mark.slow
class TestKernel:
    def test_a_run_has_one_display_that_is_updated(self, tmp_path):
        notebook, messages = execute(
            "import cotune, time\n"
            f"result = cotune.run('digits', model='mlp', n_trials=8, out={str(tmp_path / 'a')!r})",
            "result",
            "result.show()",
        )
        running, shown, printed = (cell.outputs for cell in notebook.cells)
        assert [output.output_type for output in running] == ["display_data"]
        assert messages["update_display_data"] >= 4
        assert messages["display_data"] == 2  # the run's, and that of show()
        assert "ended after" in running[0].data["text/html"]
        assert "Test accuracy" in shown[0].data["text/html"]
        assert [output.output_type for output in printed] == ["display_data"]
        assert "\x1b" not in str(notebook)

    def test_an_interrupted_run_leaves_nothing_running(self, tmp_path):
        out = str(tmp_path / "run")
        notebook, _ = execute(
            "import cotune, os, signal, threading\n"
            "threading.Timer(9, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
            "try:\n"
            f"    cotune.run('digits', model='mlp', n_trials=10_000, out={out!r})\n"
            "except KeyboardInterrupt as stopped:\n"
            "    print(stopped)\n",
            "import subprocess\n"
            "print(subprocess.run(['pgrep', '-P', str(os.getpid()), '-f', 'cotune.workers'],"
            " capture_output=True, text=True).stdout)",
        )
        assert "cotune resume" in str(notebook.cells[0].outputs)
        assert "ended after" in str(notebook.cells[0].outputs)
        assert notebook.cells[1].outputs[0].text.strip() == ""

    def test_silence_is_a_choice(self, tmp_path):
        notebook, _ = execute(
            "import cotune\n"
            "_ = cotune.run('digits', model='mlp', n_trials=2, verbose=False, "
            f"out={str(tmp_path / 'run')!r})"
        )
        assert notebook.cells[0].outputs == []

    def test_a_comparison_has_one_display(self, tmp_path):
        notebook, messages = execute(
            "import cotune\n"
            "_ = cotune.compare('digits', model='mlp', samplers='tpe,random', seeds=1, n_trials=2,"
            f" out={str(tmp_path / 'all')!r})"
        )
        assert [one.output_type for one in notebook.cells[0].outputs] == ["display_data"]
        assert "tpe" in notebook.cells[0].outputs[0].data["text/html"]
        assert messages["display_data"] == 1

    def test_errors_are_one_line(self):
        with pytest.raises(CellExecutionError, match="did you mean digits"):
            execute("import cotune\ncotune.run('digts', n_trials=1)")
