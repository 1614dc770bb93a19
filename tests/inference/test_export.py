"""Exported files, each run by the program that it is for."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import cotune
from cotune.data import Standardize
from cotune.data.tables.tables import read_cells
from cotune.exceptions import CotuneError, ModelFileError, StorageError, UsageError
from cotune.inference.export import FORMATS, TOLERANCE, write_checked
from cotune.inference.model_file import Classifier
from cotune.inference.predict import Predictor
from tests.cli.test_cli import cotune as command
from tests.inference.test_predict import wine

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")

KINDS = ("mlp", "colour", "table", "dates", "ensemble")


def colour_images() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [rows, height, width, 3]: two classes, each with a channel of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 99, (60, 6, 5, 3), dtype=np.uint8)
    images[range(60), :, :, labels] += 99
    return images, labels


def dates() -> tuple[np.ndarray, np.ndarray]:
    """float64 [rows, 2]: seconds, of which a float32 holds every 128th."""
    rows = 1.7e9 + np.random.default_rng(0).normal(size=(60, 2)) * 10
    return rows, np.arange(60) % 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    digits = load_digits()
    images = digits.images[:300].astype(np.float32), digits.target[:300]
    cotune.run(
        images, model="mlp", n_trials=2, workers="in-process", ensemble=2, out=folder / "mlp"
    )
    cotune.run(
        colour_images(), model="cnn", n_trials=1, workers="in-process", out=folder / "colour"
    )
    cotune.run(wine(), target="kind", n_trials=1, workers="in-process", out=folder / "table")
    cotune.run(dates(), n_trials=1, workers="in-process", out=folder / "dates")
    return {kind: folder / kind for kind in KINDS[:-1]} | {"ensemble": folder / "mlp"}


def load(kind: str, runs: dict[str, Path]) -> Predictor:
    return cotune.load_ensemble(runs[kind]) if kind == "ensemble" else cotune.load(runs[kind])


def some_rows(kind: str, runs: dict[str, Path], n: int) -> Tensor:
    if kind == "colour":
        return torch.from_numpy(colour_images()[0][:n]).float()
    if kind == "dates":
        return torch.from_numpy(dates()[0][:n])
    if kind == "table":
        return torch.from_numpy(
            read_cells(wine(), load("table", runs).preprocessing.columns)[0][:n]
        )
    return torch.rand(n, 8, 8, generator=torch.Generator().manual_seed(n)) * 16


def run_file(path: Path, format: str, rows: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Logits, probabilities and the description, as somebody without Cotune gets them."""
    extra = {"cotune.json": ""}
    if format == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        assert names == ["logits", "probabilities"]
        outputs = [torch.from_numpy(one) for one in session.run(names, {"rows": rows.numpy()})]
        return *outputs, json.loads(session.get_modelmeta().custom_metadata_map["cotune"])
    if format == "torch-export":
        module = torch.export.load(path, extra_files=extra).module()
    else:
        module = torch.jit.load(path, _extra_files=extra)
    with torch.no_grad():
        return *module(rows), json.loads(extra["cotune.json"])


class TestFiles:
    @pytest.mark.parametrize("format", [name for name in FORMATS if name != "safetensors"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_runtime_gives_what_pytorch_gives(self, runs, tmp_path, kind, format):
        model = load(kind, runs)
        done = cotune.export(runs[kind], format, tmp_path / "net", ensemble=kind == "ensemble")
        assert done.path == tmp_path / "net"
        assert done.size == done.path.stat().st_size
        assert done.difference <= TOLERANCE
        for n in (1, 7, 50):
            rows = some_rows(kind, runs, n)
            logits, probabilities, about = run_file(done.path, format, rows)
            with torch.no_grad():
                expected = model(rows)
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
            torch.testing.assert_close(probabilities, expected.softmax(-1), rtol=0, atol=1e-4)
        assert about["classes"] == list(model.classes)
        assert about["input"]["shape"] == ["batch", *rows.shape[1:]]
        assert about["input"]["dtype"] == str(rows.dtype).removeprefix("torch.")
        assert [path.name for path in tmp_path.iterdir()] == ["net"]
        if kind == "table":
            assert about["target"] is None  # a DataFrame leaves no trace
            assert about["columns"][-2] == {
                "name": "shade",
                "kind": "category",
                "categories": ["deep", "pale", "rosé"],
            }

    def test_the_tensors_and_their_description_are_enough(self, runs, tmp_path):
        done = cotune.export(runs["mlp"], "safetensors", tmp_path)
        assert done.path == tmp_path / "model.safetensors"
        tensors = safetensors.torch.load_file(done.path)
        with safetensors.safe_open(done.path, "pt") as file:
            about = json.loads(file.metadata()["cotune"])
        layers = about["networks"][0]["architecture"]["widths"]
        rows = some_rows("mlp", runs, 20).flatten(1)
        hidden = ((rows - tensors["to_features.mean"]) / tensors["to_features.std"]).float()
        for i in range(len(layers)):
            mean, var, weight, bias = (
                tensors[f"network.norm.{i}.{name}"]
                for name in ("running_mean", "running_var", "weight", "bias")
            )
            hidden = hidden @ tensors[f"network.hidden.{i}.weight"].T
            hidden = nn.functional.batch_norm(hidden, mean, var, weight, bias).relu()
        logits = hidden @ tensors["network.head.weight"].T + tensors["network.head.bias"]
        logits = logits / about["temperature"]
        with torch.no_grad():
            expected = cotune.load(runs["mlp"])(some_rows("mlp", runs, 20))
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("format", list(FORMATS))
    @pytest.mark.parametrize("kind", ["mlp", "ensemble"])
    def test_the_temperature_goes_with_it(self, runs, tmp_path, kind, format):
        model = load(kind, runs)
        model.temperature = 1.0
        rows = some_rows(kind, runs, 30)
        with torch.no_grad():
            plain = model(rows)
        model.temperature = 1.7
        done = write_checked(model, format, tmp_path / "net", "{}")
        assert done.difference <= TOLERANCE
        if format == "safetensors":
            return  # it is in the description
        logits, probabilities, _ = run_file(done.path, format, rows)
        torch.testing.assert_close(logits, plain / 1.7, rtol=0, atol=1e-4)
        torch.testing.assert_close(probabilities, (plain / 1.7).softmax(-1), rtol=0, atol=1e-4)

    def test_an_ensembles_tensors(self, runs, tmp_path):
        done = cotune.export(runs["ensemble"], "safetensors", tmp_path, ensemble=True)
        tensors = safetensors.torch.load_file(done.path)
        for name, value in cotune.load_ensemble(runs["ensemble"]).state_dict().items():
            assert torch.equal(tensors[name], value)
        assert tensors["shares"].sum() == 1.0


class Net(nn.Module):
    """A network of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(rows)


class Branching(Net):
    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows) if rows.sum() > 0 else rows[:, :2]


class Random(Net):
    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(rows), 0.5, training=True)


class ForThreeRows(Net):
    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows) + torch.zeros(len(rows.tolist()), 1)


class NotANumber(Net):
    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows) / 0 * 0


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(self.second(self.first(rows).relu()))


def classifier(network: nn.Module) -> Classifier:
    return Classifier(
        cast(Any, network), Standardize((0.0,) * 4, (1.0,) * 4, (4,)), ("no", "yes")
    ).eval()


class TestNetworksOfOnesOwn:
    @pytest.mark.parametrize("format", FORMATS)
    def test_any_module(self, tmp_path, format):
        done = write_checked(classifier(Tied()), format, tmp_path / "net", "{}")
        assert done.difference <= TOLERANCE

    def test_a_run(self, tmp_path):
        rng = np.random.default_rng(0)
        data = rng.normal(size=(60, 4)), np.arange(60) % 2
        run, model = tmp_path / "run", lambda trial: Tied()
        cotune.run(data, model=model, n_trials=1, workers="in-process", out=run)
        done = cotune.export(run, "onnx", model=model)
        rows = torch.from_numpy(data[0]).double()
        _, probabilities, _ = run_file(done.path, "onnx", rows)
        expected = cotune.predict(run, data[0], proba=True, model=model)
        assert probabilities.numpy() == pytest.approx(expected, abs=1e-4)
        assert cotune.evaluate(run, data, model=model).rows == 60
        for function in (cotune.predict, cotune.evaluate):
            with pytest.raises(UsageError, match="a network of your own"):
                function(run, data)
        with pytest.raises(UsageError, match="a network of your own"):
            cotune.export(run, "onnx")

    @pytest.mark.parametrize(
        ("network", "format", "problem"),
        [
            (Branching, "onnx", "the network cannot be exported as onnx: "),
            (Branching, "torch-export", "the network cannot be exported as torch-export: "),
            (ForThreeRows, "torchscript", "the network cannot be exported as torchscript: "),
            (Random, "onnx", "what was exported as onnx differs from PyTorch by "),
            (Random, "torchscript", "what was exported as torchscript differs from PyTorch by "),
            (NotANumber, "torch-export", "differs from PyTorch by nan"),
        ],
    )
    def test_one_line_and_nothing_left(self, tmp_path, capfd, network, format, problem):
        place = tmp_path / "new" / "net"
        with pytest.raises(CotuneError) as caught:
            write_checked(classifier(network()), format, place, "{}")
        assert str(caught.value).startswith(f"{place}: ")
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr() == ("", "")

    def test_what_was_there_stays(self, tmp_path):
        place = tmp_path / "net"
        place.write_text("precious")
        with pytest.raises(CotuneError):
            write_checked(classifier(Branching()), "onnx", place, "{}")
        assert place.read_text() == "precious"
        assert list(tmp_path.iterdir()) == [place]


class TestErrors:
    def test_a_tampered_model(self, runs, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(runs["mlp"], run)
        weights = run / "best" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        with pytest.raises(ModelFileError, match="altered"):
            cotune.export(run, "torchscript", tmp_path / "net.pt")
        assert not (tmp_path / "net.pt").exists()

    def test_no_model(self, tmp_path):
        with pytest.raises(ModelFileError, match="no model is there"):
            cotune.export(tmp_path, "torchscript")

    def test_no_such_format(self, runs):
        with pytest.raises(UsageError, match="'onxx' is unknown; did you mean onnx"):
            cotune.export(runs["mlp"], "onxx")

    @pytest.mark.parametrize("library", ["onnx", "onnxruntime", "onnxscript"])
    def test_the_extra_is_not_installed(self, runs, monkeypatch, library):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(UsageError, match=rf"needs {library}; pip install 'cotune\[onnx\]'"):
            cotune.export(runs["mlp"], "onnx")

    def test_the_models_own_file_is_not_replaced(self, runs):
        best = runs["mlp"] / "best"
        for own in (best, best / "model.safetensors", best / "model.json"):
            with pytest.raises(UsageError, match="a model's own file"):
                cotune.export(runs["mlp"], "safetensors", own)
        cotune.load(runs["mlp"])

    def test_it_cannot_be_written(self, runs, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match=r"net\.pt: cannot be written"):
            cotune.export(runs["mlp"], "torchscript", tmp_path / "file" / "net.pt")


class TestCommandLine:
    @pytest.mark.slow
    def test_several_formats(self, runs, tmp_path):
        formats = ("onnx", "torchscript", "onnx")
        options = [text for name in formats for text in ("--format", name)]
        outcome = command("export", runs["mlp"], *options, "-o", tmp_path / "out")
        assert (outcome.code, outcome.err) == (0, "")
        onnx, script = outcome.out.splitlines()
        assert onnx.startswith(f"{tmp_path / 'out' / 'model.onnx'}  ")
        assert script.startswith(f"{tmp_path / 'out' / 'model.pt'}  ")
        assert "bytes, differs from PyTorch by " in script

    def test_in_the_run_directory(self, runs):
        outcome = command("export", runs["mlp"], "--format", "safetensors", "--ensemble")
        assert (outcome.code, outcome.err) == (0, "")
        assert (runs["mlp"] / "export" / "ensemble.safetensors").is_file()

    def test_errors(self, runs, tmp_path):
        outcome = command("export", tmp_path, "--format", "torchscript")
        assert outcome.code == 3
        assert outcome.error == f"{tmp_path}: no model is there (no model.json)"
