from __future__ import annotations

from typing import Any

import pytest

from cotune.exceptions import SpaceError
from cotune.space.presets import PRESETS, load_space
from cotune.space.space import describe

MLP: dict[str, dict[str, Any]] = {
    "n_layers": {"type": "int", "low": 1, "high": 5},
    "width": {"type": "int", "low": 8, "high": 256, "step": 8},
    "batch_norm": {"type": "categorical", "choices": [True, False]},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "optimizer": {"type": "categorical", "choices": ["adam", "adamw", "sgd", "rmsprop"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
    "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True},
    "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
    "label_smoothing": {"type": "float", "low": 0.0, "high": 0.2},
    "shift": {"type": "int", "low": 0, "high": 2},
    "epochs": {"type": "int", "low": 10, "high": 100, "step": 10},
}


def test_mlp():
    assert load_space("mlp").to_dict() == MLP


def test_mlp_per_layer():
    data = load_space("mlp-per-layer").to_dict()
    for layer in range(5):
        width, dropout = data.pop(f"width_{layer}"), data.pop(f"dropout_{layer}")
        depths: Any = list(range(layer + 1, 6)) if layer < 4 else 5
        later: dict[str, Any] = {"when": {"n_layers": depths}} if layer else {}
        assert width == {**MLP["width"], **later}
        assert dropout == {**MLP["dropout"], **later}
    assert data == {name: e for name, e in MLP.items() if name not in ("width", "dropout")}


def test_a_file_and_a_preset_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlp").write_text("this is no space")
    assert load_space("mlp").to_dict() == MLP
    (tmp_path / "mine").write_text("lr: {type: float, low: 0.1, high: 0.2}")
    assert set(load_space("mine").searched) == {"lr"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpl", "mpl: there is no such preset or file; did you mean mlp?"),
        (
            "nothing",
            "nothing: there is no such preset or file; there are mlp, mlp-per-layer, cnn, auto",
        ),
        ("mine.yaml", "mine.yaml: cannot be read: No such file or directory"),
        (".", ".: cannot be read: Is a directory"),
        ("", ": there is no such preset or file; there are mlp, mlp-per-layer, cnn, auto"),
        ("\0", "'\\x00': there is no such preset or file; there are mlp, mlp-per-layer, cnn, auto"),
    ],
)
def test_what_is_no_space(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError) as caught:
        load_space(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["a" * 5_000, "a" * 5_000 + ".yaml"])
def test_a_name_longer_than_the_system_allows(name):
    with pytest.raises(SpaceError, match=r"no such preset or file|cannot be read"):
        load_space(name)


def test_every_preset_has_a_default():
    for name in PRESETS:
        default = load_space(name).default()
        assert default.get("n_layers", default.get("n_blocks")) == 2


def test_the_cnn_preset():
    space = load_space("cnn")
    assert space.constants == {"model": "cnn"}
    assert describe(space.searched["n_blocks"].distribution) == "1 to 4"
    assert space.searched["filters_2"].when == {"n_blocks": (3, 4)}
    full = space.complete(space.default())
    assert (full["model"], full["n_blocks"], full["kernel_size"]) == ("cnn", 2, 3)
    assert "n_layers" not in full


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(20, None), (120, None), (256, [16, 32]), (600, [16, 32, 64]), (10_000, [16, 32, 64, 128])],
)
def test_few_rows_have_small_minibatches(rows, sizes):
    space = load_space("mlp", rows=rows)
    if sizes is None:
        assert space.constants["batch_size"] == 16
    else:
        assert describe(space.searched["batch_size"].distribution) == ", ".join(map(str, sizes))
