"""What networks get: whole numbers as they are, channels each by its own scale, raw rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch import nn

import cotune
from cotune.cli.main import cotune as command
from cotune.data import Standardize, from_arrays, load, prepare
from cotune.data.preprocessing.card import preprocessing_from_json
from cotune.data.preprocessing.channels import find_channels
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.data.preprocessing.treatment import Treatment
from cotune.engine.engine import Engine
from cotune.engine.networks import CUSTOM, CustomNetwork
from cotune.exceptions import DataError, ModelFileError, UsageError
from cotune.records import TrialSpec
from cotune.space.hyperparameters import defaults

WORDS, LENGTH = 30, 8
DIGITS: Any = load("digits").inputs
RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(8, WORDS, (240, LENGTH))
LABELS = np.arange(240) % 2
TOKENS[LABELS == 1, RANDOM.integers(0, LENGTH, 120)] = 7
TOKENS[:2, 0] = 0, WORDS - 1  # all ids occur outside of the test set
FAST: dict[str, Any] = {"lr": 3e-2, "epochs": 12, "batch_size": 16, "optimizer": "adamw"}


class Words(nn.Module):
    """Whether a word occurs: the largest of each dimension of an embedding."""

    def __init__(self, width: int = 8, words: int = WORDS, cast: bool = False, **options: Any):
        super().__init__()
        self.embed = nn.Embedding(words, width, **options)
        self.out = nn.Linear(width, 2)
        self.cast = cast

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.long().clamp(0, WORDS - 1) if self.cast else rows
        logits: torch.Tensor = self.out(self.embed(rows).flatten(1, -2).amax(1))
        return logits


def plain(trial: Any) -> nn.Module:
    return Words(trial.suggest_int("width", 8, 9))


def cast(trial: Any) -> nn.Module:
    return Words(trial.suggest_int("width", 8, 9), cast=True)


def floats(trial: Any) -> nn.Module:
    width = trial.suggest_int("width", 8, 9)
    return nn.Sequential(nn.Linear(LENGTH, width), nn.ReLU(), nn.Linear(width, 2))


def tune(data: Any, model: Any, out: Path, **options: Any) -> Any:
    custom = not isinstance(model, str)
    fixed = FAST if custom else {"epochs": 12, "lr": 1e-2, "batch_size": 16}
    few: dict[str, Any] = {"n_trials": 2, "timeout": None, "workers": "in-process", "report": False}
    return cotune.run(data, model=model, out=out, **{"fixed": fixed, **few, **options})


def remarks(run: Path) -> str:
    return " | ".join(yaml.safe_load((run / "config.yaml").read_text())["dataset"]["remarks"])


def frame(cells: Any) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=[f"token_{i}" for i in range(cells.shape[1])])


class TestWholeNumbers:
    @pytest.mark.parametrize(
        ("rows", "model"),
        [
            (TOKENS, plain),
            (TOKENS.astype(np.uint8), plain),
            (torch.tensor(TOKENS, dtype=torch.int32), plain),
            (TOKENS, cast),
            (TOKENS.astype(np.float32), plain),
            (TOKENS.astype(np.float64), cast),
            (frame(TOKENS), cast),
            (TOKENS.reshape(-1, 2, 4), plain),
        ],
    )
    def test_ids_reach_a_network_of_ones_own(self, tmp_path, rows, model):
        run = tmp_path / "run"
        result = tune((rows, LABELS), model, run)
        assert result.test_accuracy > 0.85
        assert "whole numbers, which reach the network as they are (int64)" in remarks(run)
        predicted = cotune.predict(run, rows, model=model)
        assert (predicted == LABELS.astype(str)).mean() > 0.85
        parts = cotune.evaluate(run, (rows, LABELS), model=model).parts
        assert parts["test"].accuracy == result.test_accuracy

    def test_lanes_are_trained_together(self, tmp_path):
        data, _ = prepare(from_arrays(TOKENS, LABELS), seed=0, treatment=Treatment("int64"))
        assert data.inputs.dtype == np.int64
        params = {**defaults(CUSTOM), **FAST, "model": CUSTOM, "width": 8}
        engine = Engine(data, 0, max_lanes=4, custom=CustomNetwork(plain))
        engine.add([TrialSpec(number, params, number) for number in range(3)])
        reports = engine.step()
        assert [(report.lanes, report.alone, report.error) for report in reports] == [
            (3, "", None)
        ] * 3

    @pytest.mark.parametrize("options", [{"sparse": True}, {"padding_idx": 0}, {"max_norm": 1.0}])
    def test_kinds_of_embeddings(self, tmp_path, options):
        def model(trial: Any) -> nn.Module:
            return Words(trial.suggest_int("width", 8, 9), **options)

        assert tune((TOKENS, LABELS), model, tmp_path / "run").test_accuracy > 0.8

    def test_ids_that_no_float32_holds(self, tmp_path):
        class Hash(nn.Module):
            def __init__(self, width: int = 8, n_classes: int = 2) -> None:
                super().__init__()
                self.embed, self.out = nn.Embedding(64, width), nn.Linear(width, 2)

            def forward(self, rows: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = self.out(self.embed(rows % 64).amax(1))
                return logits

        rows = TOKENS.astype(np.int64) + (1 << 40)
        space = {"width": {"type": "int", "low": 8, "high": 9}}
        assert tune((rows, LABELS), Hash, tmp_path / "run", space=space).test_accuracy > 0.85

    def test_a_network_of_floats_gets_them_scaled_as_ever(self, tmp_path):
        tune((TOKENS, LABELS), floats, tmp_path / "a")
        tune((TOKENS, LABELS), floats, tmp_path / "b", inputs="standardize")
        assert "standardized as the network takes none; --inputs raw" in remarks(tmp_path / "a")
        curves = [(tmp_path / run / "curves.csv").read_text().split("\n")[1] for run in "ab"]
        assert curves[0].split(",")[:4] == curves[1].split(",")[:4]

    @pytest.mark.parametrize(
        ("rows", "words", "message"),
        [
            (TOKENS, 20, r"whole numbers from \d to 29, and its nn\.Embedding has places for 0 to"),
            (TOKENS - 1, WORDS, r"whole numbers from -1 to 28, and a network looks up none below"),
        ],
    )
    def test_an_id_without_a_place(self, tmp_path, rows, words, message):
        def model(trial: Any) -> nn.Module:
            return Words(trial.suggest_int("width", 8, 9), words)

        with pytest.raises(UsageError, match=message):
            tune((rows, LABELS), model, tmp_path / "run")

    def test_an_id_without_a_place_is_met_later(self, tmp_path):
        tune((TOKENS, LABELS), plain, tmp_path / "run")
        rows = TOKENS[:5].copy()
        rows[3, 1] = WORDS
        with pytest.raises(DataError, match=r"row 3 \(counted from 0\): holds whole numbers from"):
            cotune.predict(tmp_path / "run", rows, model=plain)
        with pytest.raises(DataError, match=r"row 2 \(counted from 0\): 7\.5 is not whole"):
            cotune.predict(
                tmp_path / "run", np.where(np.arange(5)[:, None] == 2, 7.5, TOKENS[:5]), model=plain
            )

    def test_estimator(self):
        model = cotune.CotuneClassifier(
            None, 2, model=plain, space=FAST, random_state=0, ensemble=1
        ).fit(TOKENS, LABELS)
        assert model.score(TOKENS, LABELS) > 0.9

    def test_what_is_asked_for_is_done(self, tmp_path):
        with pytest.raises(UsageError, match=r"plain cannot be used with rows .*--inputs at auto"):
            tune((TOKENS, LABELS), plain, tmp_path / "run", inputs="standardize")
        pixels = TOKENS.astype(np.uint8).reshape(-1, 2, 4)
        tune((pixels, LABELS), plain, tmp_path / "pixels", inputs="raw")
        done = cotune.load(tmp_path / "pixels", model=plain).preprocessing
        assert isinstance(done, RawRows)
        assert done.dtype == "int64"

    @pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
    @pytest.mark.parametrize("format", ["onnx", "torch-export", "torchscript", "safetensors"])
    def test_exports(self, tmp_path, format):
        tune((TOKENS, LABELS), plain, tmp_path / "run")
        if format == "onnx":
            pytest.importorskip("onnxruntime")
        file = cotune.export(tmp_path / "run", format, model=plain)
        assert file.difference < 1e-4
        if format == "torchscript":
            about = {"cotune.json": ""}
            scripted = torch.jit.load(file.path, _extra_files=about)
            assert json.loads(about["cotune.json"])["input"]["dtype"] == "int64"
            logits, _ = scripted(torch.tensor(TOKENS))
            with torch.no_grad():
                ours = cotune.load(tmp_path / "run", model=plain)(torch.tensor(TOKENS))
            torch.testing.assert_close(logits, ours)

    @pytest.mark.slow
    def test_resumed_compared_and_by_processes(self, tmp_path):
        tune((TOKENS, LABELS), plain, tmp_path / "run", ensemble=2)
        again: Any = cotune.resume(tmp_path / "run", data=(TOKENS, LABELS), model=plain, more=1)
        assert again.test_accuracy > 0.85
        for ensemble in (False, True):
            found = cotune.predict(tmp_path / "run", TOKENS, model=plain, ensemble=ensemble)
            assert (found == LABELS.astype(str)).mean() > 0.85
        compared = cotune.compare(
            (TOKENS, LABELS), model=plain, samplers=["random"], seeds=1, n_trials=1, timeout=None
        )
        assert compared.is_whole


STEPS = 12
TIME = np.linspace(0, 6, STEPS)
WAVE = np.sin(TIME * np.where(LABELS == 1, 3, 1)[:, None] + RANDOM.uniform(0, 6, (240, 1)))
PRESSURE = 100_000 + RANDOM.normal(0, 3000, (240, 1)) + RANDOM.normal(0, 300, (240, STEPS))
SERIES = np.stack([WAVE, PRESSURE], 2).astype(np.float32)


class TestChannels:
    @pytest.mark.parametrize(
        ("rows", "axis"),
        [
            (SERIES, "last"),
            (SERIES.transpose(0, 2, 1), "first"),
            (np.tile(SERIES, (1, 1, 6)), "last"),
            (np.rint(SERIES * 100).astype(np.int32), "last"),
            (SERIES.reshape(-1, 3, 4, 2), "last"),
        ],
    )
    def test_scales_that_differ(self, tmp_path, rows, axis):
        result = tune((rows, LABELS), "mlp", tmp_path / "run", n_trials=4)
        assert result.test_accuracy > 0.85
        shape = " x ".join(map(str, rows.shape[1:]))
        assert f"rows of {shape}: the {axis} axis is read as channels" in remarks(tmp_path / "run")
        found = cotune.predict(tmp_path / "run", rows)
        assert (found == LABELS.astype(str)).mean() > 0.85

    @pytest.mark.parametrize(
        ("rows", "axis"),
        [
            (DIGITS, None),
            (DIGITS / 16, None),
            (DIGITS.astype(np.int64), None),
            (RANDOM.normal(size=(50, 24, 24)), None),
            (RANDOM.random((20, 16, 16, 3)), 2),
            (RANDOM.random((20, 3, 16, 16)), 0),
            (RANDOM.integers(0, 255, (20, 16, 16, 3)).astype(np.uint8), None),
            (RANDOM.normal(size=(50, 100, 1)), None),
            (RANDOM.normal(size=(50, 6)), None),
            (RANDOM.normal(size=(50, 8, 30)) + 1000 * np.arange(30), 1),
        ],
    )
    def test_what_is_taken_for_channels(self, rows, axis):
        assert find_channels(rows) == axis

    def test_what_is_asked_for_is_done(self, tmp_path):
        for channels, axis in {"first": 0, "last": 1, "none": None, "auto": 1}.items():
            run = tmp_path / channels
            tune((SERIES, LABELS), "mlp", run, channels=channels, n_trials=1)
            assert cotune.load(run).preprocessing.to_json().get("axis") == axis
            assert ("read as channels" in remarks(run)) is (channels == "auto")

    def test_each_has_mean_0_and_deviation_1(self):
        dataset = from_arrays(SERIES, LABELS)
        data, done = prepare(dataset, seed=0)
        assert isinstance(done, Standardize)
        rows = data.inputs[: data.n_train].reshape(-1, STEPS, 2).astype(np.float64)
        np.testing.assert_allclose(rows.mean((0, 1)), 0, atol=1e-4)
        np.testing.assert_allclose(rows.std((0, 1)), 1, atol=1e-4)
        assert preprocessing_from_json(json.loads(json.dumps(done.to_json()))) == done

    def test_exported_and_loaded(self, tmp_path):
        pytest.importorskip("onnxruntime")
        tune((SERIES, LABELS), "mlp", tmp_path / "run", n_trials=1)
        assert cotune.export(tmp_path / "run", "onnx").difference < 1e-4

    def test_estimator(self):
        model = cotune.CotuneClassifier(None, 2, random_state=0, ensemble=1, channels="last")
        assert model.fit(SERIES, LABELS).module_.preprocessing.axis == 1  # type: ignore[union-attr]

    @pytest.mark.parametrize("shape", [(4, 6, 2), (2, 6, 6), (6, 6, 4)])
    def test_rows_that_cannot_be_drawn(self, tmp_path, shape):
        rows = RANDOM.random((60, *shape))
        tune((rows, LABELS[:60]), "mlp", tmp_path / "run", n_trials=1)
        assert not (tmp_path / "run" / "samples.png").exists()

    def test_series_are_not_mirrored(self, tmp_path):
        result = tune((SERIES, LABELS), "mlp", tmp_path / "run", n_trials=1)
        config = yaml.safe_load((result.path / "config.yaml").read_text())
        assert not {"shift", "flip", "erase"} & set(config["space"])


class TestRaw:
    @pytest.mark.slow
    @pytest.mark.parametrize("model", ["mlp", "cnn"])
    def test_built_in_networks(self, tmp_path, model):
        dataset = load("digits")
        result = tune(dataset, model, tmp_path / "run", inputs="raw", n_trials=1)
        assert result.test_accuracy > 0.8
        done = cotune.load(tmp_path / "run").preprocessing
        assert isinstance(done, RawRows)
        np.testing.assert_array_equal(
            done.apply(dataset.inputs), dataset.inputs.reshape(-1, 64).astype(np.float32)
        )

    def test_tables(self, tmp_path):
        table = frame(TOKENS / 30)
        assert tune((table, LABELS), floats, tmp_path / "run", inputs="raw").test_accuracy > 0.3
        shuffled = table[list(table.columns[::-1])]
        for model in (table, shuffled):
            assert (
                cotune.predict(tmp_path / "run", model, model=floats)
                == cotune.predict(tmp_path / "run", table, model=floats)
            ).all()
        for column, problem in ((["a", "b"] * 120, "holds categories"), (None, "has missing")):
            odd = table.assign(token_3=column or table["token_3"].mask(table["token_3"] < 0.5))
            with pytest.raises(UsageError, match=f"column 'token_3' {problem}"):
                tune((odd, LABELS), "mlp", tmp_path / "odd", inputs="raw")

    def test_a_value_that_is_not_finite(self):
        done = RawRows.fit(SERIES, np.arange(9), "float32")
        with pytest.raises(DataError, match=r"row 0, feature 3 .*1e\+300 is not finite, or too"):
            done.apply(np.where(np.arange(24).reshape(STEPS, 2) == 3, 1e300, 0.0)[None])

    GOOD = RawRows("int64", (0, 1), (5, 6), (2,)).to_json()

    def test_json(self):
        for one in (
            RawRows("int64", (0, 1), (5, 6), (2,)),
            RawRows("float32", 0.25, 1e300, (3, 4)),
        ):
            assert preprocessing_from_json(json.loads(json.dumps(one.to_json()))) == one

    @pytest.mark.parametrize(
        "change",
        [
            {"dtype": "float16"},
            {"low": [0]},
            {"high": 5},
            {"high": [5, 1.5]},
            {"high": [5, True]},
            {"input_shape": []},
            {"input_shape": [0]},
            {"columns": {}},
            {"columns": [{"name": "a", "kind": "number", "categories": []}]},
            {"more": 1},
        ],
    )
    def test_damaged_json(self, change):
        with pytest.raises(ModelFileError, match=r"^preprocessing"):
            preprocessing_from_json(self.GOOD | change)


@pytest.mark.slow
class TestCommandLine:
    def test_dry_run_says_what_is_done(self, tmp_path, monkeypatch):
        np.savez(tmp_path / "series.npz", x=SERIES, y=LABELS)
        data = str(tmp_path / "series.npz")
        said = CliRunner().invoke(command, ["run", data, "--dry-run"]).output
        assert "each of the 2 channels, the last axis, by its mean" in " ".join(said.split())
        assert "rows of 12 x 2: the last axis is read as channels" in " ".join(said.split())
        said = CliRunner().invoke(command, ["run", data, "--dry-run", "--inputs", "raw"]).output
        assert "nothing: rows reach the network as they are, float32" in " ".join(said.split())

    def test_a_file_of_tokens(self, tmp_path):
        (tmp_path / "words.py").write_text(
            "from torch import nn\n\n"
            "class Words(nn.Module):\n"
            "    def __init__(self, width):\n"
            "        super().__init__()\n"
            f"        self.embed, self.out = nn.Embedding({WORDS}, width), nn.Linear(width, 2)\n"
            "    def forward(self, rows):\n"
            "        return self.out(self.embed(rows).amax(1))\n\n"
            "def build(trial):\n"
            "    return Words(trial.suggest_int('width', 8, 9))\n"
        )
        np.savez(tmp_path / "tokens.npz", x=TOKENS, y=LABELS)
        run, model = str(tmp_path / "run"), f"{tmp_path / 'words.py'}:build"
        data = str(tmp_path / "tokens.npz")
        fixed = [f"--set={name}={value}" for name, value in FAST.items()]
        options = ["--model", model, "--n-trials", "2", "--workers", "1", "--out", run, *fixed]
        for arguments in (
            ["run", data, *options],
            ["evaluate", run, data, "--model", model],
            ["replay", run, "0", "--model", model],
            ["resume", run, "--more", "1", "--model", model],
        ):
            done = CliRunner().invoke(command, arguments)
            assert done.exit_code == 0, done.output
        result: Any = cotune.open_run(run)
        assert result.test_accuracy > 0.85

    def test_older_runs_go_on_as_they_began(self, tmp_path):
        np.savez(tmp_path / "series.npz", x=SERIES, y=LABELS)
        tune(str(tmp_path / "series.npz"), "mlp", tmp_path / "run", channels="none", n_trials=1)
        path = tmp_path / "run" / "config.yaml"
        config = yaml.safe_load(path.read_text())
        del config["inputs"], config["channels"]
        path.write_text(yaml.safe_dump(config))
        result = cotune.resume(tmp_path / "run", more=1)
        assert result.model.preprocessing.axis is None  # type: ignore[union-attr]
