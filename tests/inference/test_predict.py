"""A run's model on new data: predictions and scores, from the command line and from Python."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits, load_wine
from sklearn.metrics import roc_auc_score

import cotune
from cotune.cli.main import cotune as command
from cotune.data.tables.tables import read_cells
from cotune.exceptions import DataError, ModelFileError, UsageError
from cotune.inference.evaluate import class_indices
from cotune.inference.predict import Predictions
from cotune.runs.directory import RunDirectory
from tests.cli.test_cli import started as in_a_process

KINDS = ("Barolo", "Grignolino, red", 'the "third"')
DIGITS = load_digits()
IMAGES = DIGITS.images.astype(np.uint8)


def wine() -> pd.DataFrame:
    """Numbers, a category and a boolean, some cells missing, and classes that a CSV must quote."""
    rng = np.random.default_rng(0)
    data = load_wine()
    table = pd.DataFrame(data.data, columns=data.feature_names)
    n = len(table)
    table["shade"] = np.array(["pale", "deep", "rosé"])[(data.target + (rng.random(n) < 0.2)) % 3]
    table["organic"] = rng.random(n) < 0.5
    table.loc[rng.random(n) < 0.1, "alcohol"] = np.nan
    table.loc[rng.random(n) < 0.1, "shade"] = None
    table["kind"] = np.array(KINDS)[data.target]
    return table


class Runs:
    """Run directories, and what they were trained on."""

    def __init__(self, folder: Path) -> None:
        self.table, self.table_run = folder / "wine.csv", folder / "table"
        wine().to_csv(self.table, index=False)
        options: dict[str, Any] = {"n_trials": 1, "workers": 1}
        self.table_result = cotune.run(
            self.table, target="kind", out=self.table_run, ensemble=2, **options
        )
        self.train, self.test = folder / "train.npz", folder / "test.npz"
        np.savez(self.train, X=IMAGES[:400], y=DIGITS.target[:400])
        np.savez(self.test, X=IMAGES[400:700], y=DIGITS.target[400:700])
        self.images_run = folder / "images"
        self.images_result = cotune.run(
            self.train, test=self.test, model="cnn", out=self.images_run, **options
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def run_command(*arguments: str | Path) -> str:
    """What a command prints."""
    outcome = CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.output


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestTheReportedAccuracy:
    """A model trained from a file predicts the file's test rows with the accuracy reported."""

    def test_predictions_of_the_sealed_rows(self, runs, tmp_path):
        out = tmp_path / "out.csv"
        assert run_command("predict", runs.table_run, runs.table, "-o", out) == ""
        predicted = pd.read_csv(out)
        parts = pd.read_csv(runs.table_run / "splits.csv")
        assert list(predicted.row) == list(parts.row) == list(range(178))
        sealed = (parts.part == "test").to_numpy()
        hits = (predicted.predicted == wine().kind)[sealed]
        assert sealed.sum() == 36
        assert hits.mean() == runs.table_result.test_accuracy

    def test_evaluate_tells_the_parts_and_records_the_reading(self, runs):
        before = RunDirectory.open(runs.table_run).readings()
        result = json.loads(run_command("evaluate", runs.table_run, runs.table, "--json"))
        assert result["parts"]["test"] == {
            "rows": 36,
            "accuracy": runs.table_result.test_accuracy,
        }
        assert result["parts"]["train"]["rows"] + result["parts"]["validation"]["rows"] == 142
        readings = RunDirectory.open(runs.table_run).readings()
        assert len(readings) == len(before) + 1 == result["readings"]
        assert readings[-1].accuracy == runs.table_result.test_accuracy

    def test_a_test_set_of_its_own(self, runs):
        before = RunDirectory.open(runs.images_run).readings()
        text = run_command("evaluate", runs.images_run, runs.test)
        readings = RunDirectory.open(runs.images_run).readings()
        assert len(readings) == len(before) + 1
        assert readings[-1].accuracy == runs.images_result.test_accuracy
        assert f"reading number {len(readings)}" in text
        low, high = runs.images_result.final.test_ci95
        assert f"{readings[-1].accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})" in text

    def test_other_rows_are_no_reading(self, runs):
        before = RunDirectory.open(runs.images_run).readings()
        new = IMAGES[700:], DIGITS.target[700:]
        for data, parts in ((runs.train, {"train", "validation"}), (new, set())):
            result = cotune.evaluate(runs.images_run, data)
            assert result.parts.keys() == parts
            assert result.readings is None
        assert RunDirectory.open(runs.images_run).readings() == before

    def test_the_rows_are_known_wherever_they_come_from(self, runs, tmp_path):
        table = wine()
        reverse, longer = tmp_path / "reverse.csv", tmp_path / "longer.parquet"
        table[::-1].to_csv(reverse, index=False)
        new = table.iloc[:1].assign(alcohol=99.5)
        pd.concat([table, new]).to_parquet(longer, index=False)
        run = RunDirectory.open(runs.table_run)
        member = runs.table_run / "ensemble" / "0"
        for path, data in (
            (run.path, reverse),
            (run.path, longer),
            (run.path, table),
            (member, runs.table),
        ):
            n_readings = len(run.readings())
            result = cotune.evaluate(path, data)
            rows = {part: score.rows for part, score in result.parts.items()}
            assert rows == {"train": 113, "validation": 29, "test": 36}
            assert result.readings == len(run.readings()) == n_readings + 1
            if path != member:
                assert result.parts["test"].accuracy == runs.table_result.test_accuracy
        images = RunDirectory.open(runs.images_run)
        n_readings = len(images.readings())
        tests = IMAGES[400:700][::-1].astype(np.float64), DIGITS.target[400:700][::-1]
        result = cotune.evaluate(runs.images_run, tests)
        assert result.parts["test"].accuracy == runs.images_result.test_accuracy
        some = cotune.evaluate(runs.images_run, (IMAGES[650:750], DIGITS.target[650:750]))
        assert some.parts["test"].rows == 50
        assert some.readings == n_readings + 2 == len(images.readings())


class TestPredict:
    def test_what_the_module_says(self, runs):
        model = cotune.load(runs.images_run)
        with torch.no_grad():
            expected = model(torch.from_numpy(IMAGES[:50])).double().softmax(1).numpy()
        turned = IMAGES[:50][::-1].copy()[::-1]
        for data in (IMAGES[:50], torch.from_numpy(IMAGES[:50]), turned, IMAGES[:50].astype(">f8")):
            assert np.array_equal(cotune.predict(runs.images_run, data, proba=True), expected)
        names = cotune.predict(runs.images_run / "best", IMAGES[:50])
        assert list(names) == [model.classes[i] for i in expected.argmax(1)]

    def test_probabilities_as_csv(self, runs):
        rows = read_csv(run_command("predict", runs.table_run, runs.table, "--proba"))
        assert list(rows[0]) == ["row", "predicted", *(f"p_{name}" for name in sorted(KINDS))]
        expected = cotune.predict(runs.table_run, runs.table, proba=True)
        for row, shares in zip(rows, expected, strict=True):
            written = {name: float(row[f"p_{name}"]) for name in KINDS}
            assert row["predicted"] == max(written, key=lambda name: written[name])
            assert list(written.values()) == pytest.approx(list(shares), abs=1e-7)

    def test_labels_are_not_looked_at(self, runs, tmp_path):
        table = wine()
        expected = cotune.predict(runs.table_run, runs.table)
        table["kind"] = 7.5
        assert np.array_equal(cotune.predict(runs.table_run, table), expected)
        without = table.drop(columns="kind")[table.columns[-2::-1]]  # and in another order
        without.to_parquet(tmp_path / "new.parquet")
        assert np.array_equal(cotune.predict(runs.table_run, tmp_path / "new.parquet"), expected)

    def test_unknown_categories_are_all_the_same(self, runs):
        one, other = wine().drop(columns="kind"), wine().drop(columns="kind")
        one["shade"], other["shade"] = "unheard of", "new"
        expected = cotune.predict(runs.table_run, one, proba=True)
        assert np.array_equal(cotune.predict(runs.table_run, other, proba=True), expected)
        columns = cotune.load(runs.table_run).preprocessing.columns
        cells, _ = read_cells(one, columns)
        place = [column.name for column in columns].index("shade")
        assert (cells[:, place] == -1).all()
        cells[:, place] = 99.0
        assert np.array_equal(cotune.predict(runs.table_run, cells, proba=True), expected)

    def test_images_by_their_files(self, runs, tmp_path):
        folder = tmp_path / "new"
        folder.mkdir()
        for i in range(12):
            Image.fromarray(IMAGES[i]).save(folder / f"{i:02d}, new.png")
        rows = read_csv(run_command("predict", runs.images_run, folder))
        assert [row["file"] for row in rows] == [f"{i:02d}, new.png" for i in range(12)]
        expected = cotune.predict(runs.images_run, IMAGES[:12])
        assert [row["predicted"] for row in rows] == list(expected)
        (one,) = read_csv(run_command("predict", runs.images_run, folder / "03, new.png"))
        assert one == {"file": "03, new.png", "predicted": expected[3]}

    def test_an_ensemble(self, runs):
        ensemble = cotune.load_ensemble(runs.table_run)
        cells = wine().drop(columns="kind").iloc[:5]
        found = cotune.predict(runs.table_run, cells, proba=True, ensemble=True)
        assert found.shape == (5, 3)
        text = run_command("predict", runs.table_run, runs.table, "--ensemble")
        assert [row["predicted"] for row in read_csv(text)[:5]] == [
            ensemble.classes[i] for i in found.argmax(1)
        ]

    def test_anything_in_names_is_quoted(self):
        names = ("a,b", 'c"d', "e\nf")
        predictions = Predictions(names, np.eye(3), ["x,1.png", "y\n2.png", 'z"3.png'], None)
        text = io.StringIO()
        predictions.write_csv(text, proba=True)
        rows = read_csv(text.getvalue())
        assert [row["predicted"] for row in rows] == list(names)
        assert [row["file"] for row in rows] == predictions.files
        assert rows[1]['p_c"d'] == "1.0"


class TestOutput:
    def test_a_file_is_replaced_and_a_link_is_not(self, runs, tmp_path):
        real, link = tmp_path / "real.csv", tmp_path / "link.csv"
        real.write_text("old")
        link.symlink_to(real)
        for out in (real, link):
            run_command("predict", runs.table_run, runs.table, "-o", out)
            assert len(real.read_text().splitlines()) == 179
        assert link.is_symlink()
        assert sorted(os.listdir(tmp_path)) == ["link.csv", "real.csv"]

    @pytest.mark.slow
    def test_in_a_process(self, runs, tmp_path):
        done = in_a_process("predict", runs.table_run, runs.table, "-o", "/dev/stdout")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("row,predicted\n0,Barolo\n")
        done = in_a_process("predict", runs.table_run, runs.table, "-o", tmp_path)
        assert done.code == 4
        assert done.error == f"{tmp_path}: cannot be written: Is a directory"

    @pytest.mark.parametrize("name", ["config.yaml", "rows.csv", "best/model.json", "mistakes.png"])
    def test_what_the_run_is_made_of_is_not_overwritten(self, runs, tmp_path, name):
        before = (runs.table_run / name).read_bytes() if name != "mistakes.png" else None
        link = tmp_path / "link.csv"
        link.symlink_to(runs.table_run / name)
        for out in (runs.table_run / name, link):
            with pytest.raises(UsageError, match="'s own file; choose another -o FILE"):
                run_command("predict", runs.table_run, runs.table, "-o", out)
        assert before is None or (runs.table_run / name).read_bytes() == before

    def test_the_data_are_not_overwritten(self, runs, tmp_path):
        data = tmp_path / "new.csv"
        shutil.copy(runs.table, data)
        with pytest.raises(UsageError, match="is the data itself"):
            run_command("predict", runs.table_run, data, "-o", data)
        assert data.read_bytes() == runs.table.read_bytes()


class TestEvaluate:
    def test_scores(self, runs, tmp_path):
        chosen = DIGITS.target >= 3  # classes 0, 1 and 2 do not occur
        data = tmp_path / "some.npz"
        labels = DIGITS.target[chosen].copy()
        labels[:40] = 3 + labels[:40] % 7  # not what the images are
        np.savez(data, X=IMAGES[chosen], y=labels)
        result = cotune.evaluate(runs.images_run, data)
        shares = cotune.predict(runs.images_run, data, proba=True)
        predicted = shares.argmax(1)
        recalls = [(predicted == c)[labels == c].mean() for c in range(3, 10)]
        assert result.rows == len(labels)
        assert result.accuracy == (predicted == labels).mean() < 1
        assert result.ci95[0] < result.accuracy < result.ci95[1]
        assert result.balanced_accuracy == pytest.approx(np.mean(recalls))
        assert result.log_loss == pytest.approx(
            -np.log(shares[range(len(labels)), labels]).mean(), rel=1e-6
        )
        areas = [roc_auc_score(labels == c, shares[:, c]) for c in range(3, 10)]
        assert result.auc == pytest.approx(np.mean(areas))
        assert [one.recall for one in result.classes[3:]] == pytest.approx(recalls)
        assert [(one.name, one.rows, one.recall) for one in result.classes[:2]] == [
            ("0", 0, None),
            ("1", 0, None),
        ]
        assert np.sum(result.confusion) == len(labels)
        assert result.confusion[4][4] == ((predicted == 4) & (labels == 4)).sum()
        assert json.loads(json.dumps(result.to_json()))["rows"] == len(labels)

    def test_one_class_has_no_auc(self, runs):
        ones = DIGITS.target == 1
        result = cotune.evaluate(runs.images_run, (IMAGES[ones], DIGITS.target[ones]))
        assert result.auc is None
        assert result.balanced_accuracy == result.accuracy

    def test_idx_files(self, runs, tmp_path):
        for name, array in (("images-idx3", IMAGES[:90]), ("labels-idx1", DIGITS.target[:90])):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(tmp_path / f"t10k-{name}-ubyte.gz", "wb") as file:
                file.write(head + array.astype(np.uint8).tobytes())
        result = cotune.evaluate(runs.images_run, tmp_path / "t10k-images-idx3-ubyte.gz")
        predicted = cotune.predict(runs.images_run, IMAGES[:90]).astype(int)
        assert result.accuracy == (predicted == DIGITS.target[:90]).mean()

    def test_in_the_terminal(self, runs, tmp_path):
        shutil.copy(runs.table, tmp_path / "copy.csv")
        printed = run_command("evaluate", runs.table_run, tmp_path / "copy.csv")
        for text in ("rows                 178\n", "macro F1", "log loss", *KINDS):
            assert text in printed
        assert "test rows          36" in printed

    @pytest.mark.parametrize(
        ("labels", "classes", "expected"),
        [
            (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
            ([3, 1, 3], ("1", "3"), [1, 0, 1]),
            (["3", "1"], ("1", "3"), [1, 0]),
            ([2, 0], ("Shirt", "Coat", "Bag"), [2, 0]),
        ],
    )
    def test_labels_by_name_or_number(self, labels, classes, expected):
        assert class_indices(np.array(labels), classes, "data").tolist() == expected

    @pytest.mark.parametrize(
        ("labels", "classes", "unknown"),
        [
            (["a", "c", "<d>", "c"], ("a", "b"), "labels '<d>', 'c' are no classes"),
            ([0, 1], ("1", "2"), "labels '0' are no classes of the model; it knows '1', '2'"),
            ([0, 3], ("Shirt", "Coat", "Bag"), "labels '3' are no classes"),
            ([-1], ("Shirt", "Coat"), "labels '-1' are no classes"),
            (list("abcdefgh"), ("x", "y"), "'e' and 3 more are"),
        ],
    )
    def test_unknown_labels(self, labels, classes, unknown):
        with pytest.raises(DataError, match=f"^data.csv: .*{unknown}"):
            class_indices(np.array(labels), classes, "data.csv")


class TestErrors:
    def test_other_columns(self, runs):
        table = wine().drop(columns=["hue", "shade"])
        with pytest.raises(DataError, match=r"missing: 'hue', 'shade'|missing: hue, shade"):
            cotune.predict(runs.table_run, table)

    def test_another_shape(self, runs, tmp_path):
        with pytest.raises(DataError, match=r"rows have shape \(8,\), .* on \(8, 8\)"):
            cotune.predict(runs.images_run, IMAGES[0])
        np.save(tmp_path / "X.npy", IMAGES[:, :7])
        with pytest.raises(DataError, match=r"X\.npy: its rows have shape \(7, 8\)"):
            cotune.predict(runs.images_run, tmp_path / "X.npy")

    def test_no_labels(self, runs, tmp_path):
        np.save(tmp_path / "X.npy", IMAGES)
        with pytest.raises(DataError, match="has no labels; name what holds them with --target"):
            cotune.evaluate(runs.images_run, tmp_path / "X.npy")
        with pytest.raises(DataError, match="has no labels in 'kind'"):
            cotune.evaluate(runs.table_run, wine().drop(columns="kind"))

    @pytest.mark.parametrize(
        ("labels", "problem"),
        [
            ([1, 2], "data: 3 rows but 2 labels"),
            (["1", None, "2"], r"data: labels\[1\] is missing"),
            ([1.5, 1, 2], "data: labels are of type float64"),
        ],
    )
    def test_labels_that_are_none(self, runs, labels, problem):
        with pytest.raises(DataError, match=problem):
            cotune.evaluate(runs.images_run, (IMAGES[:3], labels))

    @pytest.mark.parametrize("value", [1e300, np.nan])
    def test_values_beyond_float32(self, runs, value):
        rows = IMAGES[:3].astype(np.float64)
        rows[1, 0, 0] = value
        with pytest.raises(DataError, match=r"row 1 \(counted from 0\): .* too large"):
            cotune.predict(runs.images_run, rows)

    def test_a_name_is_a_path(self, runs):
        for function in (cotune.predict, cotune.evaluate):
            with pytest.raises(DataError, match=r"^digits: "):
                function(runs.images_run, "digits")

    def test_no_model(self, runs, tmp_path):
        for function in (cotune.predict, cotune.evaluate):
            with pytest.raises(ModelFileError, match="no model is there"):
                function(tmp_path, runs.table)

    def test_a_tampered_model(self, runs, tmp_path):
        shutil.copytree(runs.table_run / "best", tmp_path / "best")
        weights = tmp_path / "best" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        for function in (cotune.predict, cotune.evaluate):
            with pytest.raises(ModelFileError, match="altered"):
                function(tmp_path, runs.table)

    def test_damaged_rows(self, runs, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(runs.table_run, run)
        rows = run / "rows.csv"
        for text in (
            "",
            "part\n",
            "part,digest\ntests,0\n",
            "part,digest\ntest,x\n",
            "part,digest\n0\n",
        ):
            rows.write_text(text)
            with pytest.raises(cotune.StorageError, match=r"rows\.csv: cannot be read"):
                cotune.evaluate(run, runs.table)

    @pytest.mark.parametrize(
        ("rows", "kind"),
        [
            (IMAGES[:3].astype(str), "<U"),
            (np.full(IMAGES[:3].shape, "dark", object), "object"),
            (IMAGES[:3] + 1j, "complex128"),
        ],
    )
    def test_no_numbers(self, runs, rows, kind):
        with pytest.raises(DataError, match=f"of type {kind}"):
            cotune.predict(runs.images_run, rows)
