"""Networks of the user's own: made, fused, trained alone with a reason, saved and loaded."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

import cotune
from cotune.cli.main import cotune as command
from cotune.data.dataset import TrainingData
from cotune.engine.engine import Engine
from cotune.engine.networks import CUSTOM, CustomNetwork, load_custom_network
from cotune.engine.networks.custom.lane_dropout import LaneDropout
from cotune.engine.networks.custom.space import CustomSpace
from cotune.engine.networks.custom.structure import structure_of
from cotune.engine.step import row_order
from cotune.exceptions import SpaceError, UsageError
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.space.hyperparameters import defaults
from cotune.space.presets import training_entries

ROWS, TOKENS, WIDTH, CLASSES = 96, 4, 8, 3


class Attention(nn.Module):
    """Batch norm, embedding, attention, layer norm, dropout."""

    def __init__(self, width=WIDTH, dropout=0.0, n_classes=CLASSES):
        super().__init__()
        self.norm = nn.BatchNorm1d(TOKENS)
        self.embed = nn.Linear(WIDTH, width)
        self.place = nn.Embedding(TOKENS, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.after = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_classes)
        self.register_buffer("places", torch.arange(TOKENS))

    def forward(self, rows):
        hidden = self.embed(self.norm(rows)) + self.place(self.places)
        hidden = self.after(hidden + self.attention(hidden, hidden, hidden)[0])
        return self.head(self.dropout(F.relu(hidden)).mean(1))


def convolutions(trial):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(4 * 2 * 4, CLASSES),
    )


def encoder(trial):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, rows):
            return self.head(self.layers(rows).mean(1))

    return Encoder()


def causal(trial):
    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(WIDTH, 3 * WIDTH)
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, rows):
            query, key, value = self.mix(rows).chunk(3, -1)
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            return self.head(mixed[:, -1])

    return Causal()


def perceptron(trial):
    width = trial.suggest_int("width", 4, 8, step=4)
    return nn.Sequential(
        nn.Linear(TOKENS * WIDTH, width),
        nn.ReLU(),
        nn.Dropout(trial.suggest_float("dropout", 0.0, 0.5)),
        nn.Linear(width, CLASSES),
    )


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, 6, batch_first=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, rows):
        return self.head(self.lstm(rows)[0][:, -1])


def attention(trial):
    return Attention()


def recurrent(trial):
    return Recurrent()


def make_data(seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, ROWS)
    inputs = random.normal(size=(ROWS, TOKENS * WIDTH)) + labels[:, None] * 0.5
    return TrainingData(
        inputs.astype(np.float32),
        labels.astype(np.int64),
        n_train=64,
        n_classes=CLASSES,
        input_shape=(TOKENS, WIDTH),
    )


def spec(number, lr=1e-2, **params):
    full = {**defaults(CUSTOM), "model": CUSTOM, "batch_size": 16, "epochs": 3, "lr": lr, **params}
    return TrialSpec(number, full, seed=100 + number)


def train(engine: Engine, specs) -> dict[int, list[EpochReport]]:
    engine.add(specs)
    reports: dict[int, list[EpochReport]] = {one.number: [] for one in specs}
    epochs = {one.number: one.epochs for one in specs}
    while engine.waiting:
        for report in engine.step():
            reports[report.number].append(report)
            if not report.error:
                over = report.epoch >= epochs[report.number]
                engine.apply([Verdict(report.number, False)] if not over else [])
    return reports


def by_hand(build, one: TrialSpec, data: TrainingData) -> nn.Module:
    """The same training by plain PyTorch; dropout 0."""
    module = CustomNetwork(build).build(one.params, data.input_shape, CLASSES, one.seed)
    rows, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    make = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[str(one.params["optimizer"])]
    more = {"momentum": one.params["momentum"]} if make is torch.optim.SGD else {}
    optimizer = make(
        module.parameters(), lr=one.params["lr"], weight_decay=one.params["weight_decay"], **more
    )
    for epoch in range(one.epochs):
        module.train()
        for index in row_order(data.n_train, 0, epoch).view(-1, 16):
            loss = F.cross_entropy(
                module(rows[index]),
                labels[index],
                label_smoothing=float(one.params.get("label_smoothing", 0.0)),
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module.eval()


class TestTogether:
    @pytest.mark.parametrize("build", [attention, convolutions, encoder, causal])
    def test_lanes_are_trained_as_plain_pytorch_trains_them(self, build):
        data, custom = make_data(), CustomNetwork(build)
        specs = [
            spec(0, 1e-2),
            spec(1, 1e-3, label_smoothing=0.2),
            spec(2, 3e-2, optimizer="sgd", weight_decay=0.01),
        ]
        engine = Engine(data, 0, max_lanes=4, custom=custom)
        reports = train(engine, specs)
        assert {report.lanes for custom in reports.values() for report in custom} == {3}
        rows = torch.from_numpy(data.inputs)
        for one in specs:
            expected = by_hand(build, one, data)
            again = CustomNetwork(build).build(one.params, data.input_shape, CLASSES, 0)
            tensors = dict([*again.named_parameters(), *again.named_buffers()])
            with torch.no_grad():
                for name, value in engine.weights(one.number).items():
                    tensors[name].copy_(torch.from_numpy(value))
                torch.testing.assert_close(again.eval()(rows), expected(rows), rtol=2e-3, atol=2e-3)

    def test_a_lane_that_explodes_leaves_the_bits_of_the_others(self):
        data, custom = make_data(), CustomNetwork(attention)
        good = [spec(0, dropout=0.3), spec(1)]
        alone = Engine(data, 0, max_lanes=4, custom=custom)
        calm = train(alone, [*good, spec(2)])
        beside = Engine(data, 0, max_lanes=4, custom=custom)
        wild = train(beside, [*good, spec(2, 1e30, optimizer="sgd")])
        assert wild[2][0].error
        first = [(r.train_loss, r.scores) for n in (0, 1) for r in calm[n][:1]]
        assert first == [(r.train_loss, r.scores) for n in (0, 1) for r in wild[n][:1]]

    def test_dropout_rates_differ_and_widths_do_not_mix(self):
        data, custom = make_data(), CustomNetwork(perceptron)
        specs = [
            spec(0, width=4, dropout=0.0),
            spec(1, width=4, dropout=0.5),
            spec(2, width=8, dropout=0.5),
        ]
        reports = train(Engine(data, 0, max_lanes=4, custom=custom), specs)
        assert [reports[number][0].lanes for number in range(3)] == [2, 2, 1]
        assert not any(report.alone for custom in reports.values() for report in custom)

    def test_the_noise_of_a_lane_is_its_own(self):
        """Alone or in company, up to rounding."""
        data, custom = make_data(), CustomNetwork(perceptron)
        one = spec(0, width=8, dropout=0.5)
        company = [one, spec(1, width=8, dropout=0.2), spec(2, width=8, dropout=0.4)]
        together = train(Engine(data, 0, max_lanes=4, custom=custom), company)[0]
        alone = train(Engine(data, 0, max_lanes=4, custom=custom), [one])[0]
        assert [r.train_loss for r in alone] == pytest.approx(
            [r.train_loss for r in together], rel=1e-4
        )

    def test_lanes_go_on_from_a_checkpoint_to_the_last_bit(self, tmp_path):
        data, custom = make_data(), CustomNetwork(attention)
        specs = [spec(0, dropout=0.3), spec(1, 1e-3)]
        whole = train(Engine(data, 0, max_lanes=4, custom=custom), specs)
        first = Engine(data, 0, max_lanes=4, custom=custom)
        first.add(specs)
        reports = first.step()
        first.apply([Verdict(report.number, False) for report in reports])
        first.save(tmp_path / "lanes.safetensors")
        second = Engine(data, 0, max_lanes=4, custom=custom)
        second.resume(specs, [tmp_path / "lanes.safetensors"])
        rest = second.step()
        assert [(r.epoch, r.train_loss, r.scores) for r in rest] == [
            (r.epoch, r.train_loss, r.scores) for r in (whole[0][1], whole[1][1])
        ]


class Masked(nn.Module):
    """A causal mask of minus infinity, and a permutation that the seed decides."""

    def __init__(self, shuffled):
        super().__init__()
        self.head = nn.Linear(WIDTH, CLASSES)
        self.register_buffer("mask", torch.full((TOKENS, TOKENS), float("-inf")).triu(1))
        order = torch.randperm(WIDTH) if shuffled else torch.arange(WIDTH)
        self.register_buffer("order", order)

    def forward(self, rows):
        rows = rows[..., self.order]
        weights = (rows @ rows.transpose(1, 2) + self.mask).softmax(-1)
        return self.head((weights @ rows)[:, -1])


def masked(trial):
    return Masked(shuffled=False)


def shuffled(trial):
    return Masked(shuffled=True)


class TestConstants:
    @pytest.mark.parametrize(("build", "lanes"), [(masked, 2), (shuffled, 1)])
    def test_are_left_to_the_network(self, build, lanes):
        data, custom = make_data(), CustomNetwork(build)
        reports = train(Engine(data, 0, max_lanes=4, custom=custom), [spec(0), spec(1)])
        assert {r.lanes for custom in reports.values() for r in custom} == {lanes}
        assert not any(r.error for custom in reports.values() for r in custom)

    def test_are_in_the_final_model_as_in_its_training(self, tmp_path):
        """A permutation of the inputs that another seed makes would turn it into a guesser."""
        data = make_data()
        labels = np.concatenate([data.labels] * 2)
        rows = np.concatenate([data.inputs] * 2).reshape(-1, TOKENS, WIDTH) * 4
        result = cotune.run(
            (rows, labels),
            model=shuffled,
            space={"epochs": 30, "shift": 0, "lr": {"type": "float", "low": 0.01, "high": 0.03}},
            n_trials=2,
            workers="in-process",
            seed=5,
            out=tmp_path / "run",
        )
        again = cotune.load(tmp_path / "run", shuffled)
        assert again.network.seed == 5
        orders = [model.get_buffer("network.net.order") for model in (result.model, again)]
        assert torch.equal(*orders)
        with torch.no_grad():
            guess = again(torch.from_numpy(rows)).argmax(1).numpy()
        assert (guess == labels).mean() == pytest.approx(result.validation_accuracy, abs=0.2)


class TestAlone:
    def test_what_vmap_refuses_trains_alone_and_says_why(self):
        data, custom = make_data(), CustomNetwork(recurrent)
        specs = [spec(0), spec(1, 3e-2)]
        engine = Engine(data, 0, max_lanes=4, custom=custom)
        reports = train(engine, specs)
        for one in specs:
            assert [report.lanes for report in reports[one.number]] == [1, 1, 1]
            assert "torch.func" in reports[one.number][0].alone
            expected = by_hand(recurrent, one, data)
            for name, value in {**dict(expected.named_parameters())}.items():
                np.testing.assert_allclose(
                    engine.weights(one.number)[name], value.detach(), rtol=1e-4, atol=1e-5
                )

    def test_hidden_parameters_are_found_out(self):
        class Hidden(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(WIDTH * TOKENS, CLASSES)
                self.kept = [self.head.weight]

            def forward(self, rows):
                return F.linear(rows.flatten(1), self.kept[0], self.head.bias)

        data, custom = make_data(), CustomNetwork(lambda trial: Hidden())
        reports = train(Engine(data, 0, max_lanes=4, custom=custom), [spec(0), spec(1)])
        assert "differ" in reports[0][0].alone
        assert reports[0][-1].train_loss < reports[0][0].train_loss

    def test_an_error_in_the_middle_fails_the_trial_with_its_line(self):
        class Fragile(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(WIDTH * TOKENS, CLASSES)

            def forward(self, rows):
                if len(rows) == 16:
                    raise RuntimeError("sixteen is too many")
                return self.head(rows.flatten(1))

        data, custom = make_data(), CustomNetwork(lambda trial: Fragile())
        (report,) = train(Engine(data, 0, max_lanes=4, custom=custom), [spec(0)])[0]
        assert "sixteen is too many" in str(report.error)
        assert Path(__file__).name in str(report.error)


class TestStructure:
    def test_the_same_but_for_the_rate_of_dropout(self):
        assert structure_of(Attention(dropout=0.1)) == structure_of(Attention(dropout=0.4))

    @pytest.mark.parametrize(
        "change",
        [
            lambda net: setattr(net, "scale", 2.0),
            lambda net: setattr(net.attention, "num_heads", 4),
            lambda net: setattr(net.norm, "eps", 1e-3),
            lambda net: setattr(net, "act", F.gelu),
            lambda net: net.register_buffer("more", torch.zeros(2)),
        ],
        ids=["attribute", "heads", "epsilon", "function", "buffer"],
    )
    def test_what_decides_the_computation_differs(self, change):
        changed = Attention()
        change(changed)
        assert structure_of(changed).key != structure_of(Attention()).key

    def test_methods_and_members_of_local_classes_count(self):
        def make(scale, act):
            class Net(nn.Module):
                factor = scale

                def __init__(self):
                    super().__init__()
                    self.head = nn.Linear(4, 2)
                    self.act = self.up if act == "up" else self.down

                def up(self, rows):
                    return rows.relu()

                def down(self, rows):
                    return -rows.relu()

                def forward(self, rows):
                    return self.head(self.act(rows)) * self.factor

            return structure_of(Net())

        assert make(1.0, "up").key == make(1.0, "up").key
        assert make(1.0, "up").opaque == ""
        assert make(1.0, "up").key != make(2.0, "up").key
        assert make(1.0, "up").key != make(1.0, "down").key

    def test_whole_numbers_in_buffers_count(self):
        one, other = Attention(), Attention()
        other.get_buffer("places").copy_(torch.tensor([1, 0, 2, 3]))
        assert structure_of(one).key != structure_of(other).key

    def test_a_tensor_that_is_no_buffer_cannot_be_compared(self):
        net = Attention()
        net.mask = torch.ones(3)
        assert "mask" in structure_of(net).opaque


def test_lane_dropout_keeps_the_share_and_the_scale():
    torch.manual_seed(0)
    layer = LaneDropout(0.3, 0)
    values = torch.ones(64, 1000)
    layer.seed.fill_(12345)
    out = layer(values)
    assert (out == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert out.mean() == pytest.approx(1.0, abs=0.02)
    assert out.max() == pytest.approx(1 / 0.7)
    # Neighbours, rows, columns and seeds are uncorrelated.
    kept = (out > 0).float() - 0.7
    other = copy.deepcopy(layer)
    other.seed.fill_(12346)
    again = (other(values) > 0).float() - 0.7
    for one, two in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1]), (kept, again)):
        assert abs((one * two).mean()) < 0.01
    assert layer.eval()(values) is values


def build_for_digits(trial, n_classes):
    width = trial.suggest_categorical("width", [8, 16])
    layers = [nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU()]
    if width == 16:
        layers.append(nn.Dropout(trial.suggest_float("p", 0.0, 0.4)))
    return nn.Sequential(*layers, nn.Linear(width, n_classes))


class TestSpace:
    def test_what_is_asked_for_sometimes_is_found_too(self):
        space = CustomSpace(CustomNetwork(build_for_digits), {}, {"lr": 0.1}, (8, 8), 10)
        assert list(space.searched) == ["width", "p"]
        assert space.default() == {"width": 8}
        assert "width" in space.shared
        assert "p" not in space.constants

    def test_hyperparameters_of_the_training_are_added_unless_asked_for(self):
        def build(trial):
            trial.suggest_float("lr", 1e-3, 1e-2, log=True)
            trial.suggest_categorical("optimizer", ["Adam", "SGD"])
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

        entries = {
            "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
            "weight_decay": {"type": "float", "low": 0.0, "high": 0.1},
        }
        space = CustomSpace(CustomNetwork(build), entries, {}, (8, 8), 10)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        params = space.suggest(study.ask())
        assert set(params) == {"lr", "optimizer", "weight_decay"}
        assert 1e-3 <= float(params["lr"]) <= 1e-2
        assert space.complete(params)["optimizer"] in ("adam", "sgd")

    def test_the_arguments_of_a_class(self):
        entries = {
            "width": {"type": "int", "low": 4, "high": 16, "step": 4},
            "dropout": {"type": "float", "low": 0.0, "high": 0.5},
            "lr": 0.01,
        }
        space = CustomSpace(CustomNetwork(Attention), {}, entries, (TOKENS, WIDTH), CLASSES)
        assert space.default() == {"width": 8, "dropout": 0.0}
        assert "width" in space.shared
        assert "dropout" not in space.shared
        assert space.to_dict()["width"] == entries["width"]

    @pytest.mark.parametrize("kind", ["loguniform", "float"])
    def test_the_optimizer_can_be_asked_for(self, kind):
        """As momentum, which the presets have, exists for sgd alone."""

        def build(trial):
            trial.suggest_categorical("optimizer", ["Adam", "SGD"])
            if kind == "loguniform":
                trial.suggest_loguniform("lr", 1e-3, 1e-1)
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

        space = CustomSpace(CustomNetwork(build), training_entries(images=True), {}, (8, 8), 10)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        drawn = [space.complete(space.suggest(study.ask())) for _ in range(8)]
        assert {params["optimizer"] for params in drawn} == {"adam", "sgd"}
        assert all(("momentum" in params) == (params["optimizer"] == "sgd") for params in drawn)

    def test_what_is_given_goes_before_what_is_added(self):
        custom, added = CustomNetwork(perceptron), training_entries(images=False)
        choices = {"type": "categorical", "choices": ["adam", "adamw"]}
        for optimizer in ("adam", choices):
            space = CustomSpace(custom, added, {"optimizer": optimizer}, (TOKENS, WIDTH), CLASSES)
            assert "momentum" not in space.searched

    def test_what_is_asked_for_can_be_held_at_a_value(self):
        custom = CustomNetwork(perceptron)
        space = CustomSpace(custom, {"lr": 0.1}, {"width": 8}, (TOKENS, WIDTH), CLASSES)
        assert list(space.searched) == ["dropout"]
        trial = optuna.create_study().ask()
        assert space.complete(space.suggest(trial))["width"] == 8
        assert list(trial.params) == ["dropout"]
        with pytest.raises(SpaceError, match="width: 9 is not in 4 to 8"):
            CustomSpace(custom, {"lr": 0.1}, {"width": 9}, (TOKENS, WIDTH), CLASSES)
        wider = {"width": {"type": "int", "low": 1, "high": 64}}
        with pytest.raises(SpaceError, match="width: the function asks for it itself"):
            CustomSpace(custom, {"lr": 0.1}, wider, (TOKENS, WIDTH), CLASSES)

    def test_where_the_middle_is_refused_another_is_the_default(self):
        def build(trial):
            width = trial.suggest_int("width", 1, 20)
            if width > 8:
                raise ValueError("too wide")
            return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))

        space = CustomSpace(CustomNetwork(build), {"lr": 0.1}, {}, (8, 8), 10)
        assert int(space.default()["width"]) <= 8

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ({"widht": 3, "lr": 0.1}, "widht: unknown hyperparameter; did you mean width?"),
            ({"width": {"type": "int", "low": 9, "high": 3}}, "width.low: 9 is above high, 3"),
            ({"width": {"type": "int", "low": 1, "high": 3}, "lr": -1.0}, "lr: -1 is outside"),
        ],
    )
    def test_errors_name_the_key(self, entries, message):
        with pytest.raises(SpaceError, match=message):
            CustomSpace(CustomNetwork(Attention), {}, entries, (TOKENS, WIDTH), CLASSES)


class TestMistakes:
    def use(self, build, rows=(8, 8), classes=10):
        CustomSpace(CustomNetwork(build), {}, {"lr": 0.1}, rows, classes)

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: None, "takes no trial"),
            (lambda trial, other: None, "nobody knows argument other"),
            (lambda trial: 3, "returns a int, not a torch.nn.Module"),
            (lambda trial: nn.Linear(64, 9), r"gives shape \(4, 9\), where \(4, 10\) is wanted"),
            (lambda trial: nn.Linear(63, 10), "cannot be used with rows"),
            (lambda trial: trial.suggest_float("model", 0, 1), "name it otherwise"),
            (lambda trial: nn.Sequential(nn.Flatten()), "finds no parameters|is wanted"),
            (lambda trial: trial.suggest_categorical("a", [nn.ReLU]), "a choice of type type"),
            (lambda trial: 1 // 0, r"engine/test_custom_network.py:\d+: ZeroDivisionError"),
        ],
        ids=[
            "no-trial",
            "argument",
            "no-module",
            "outputs",
            "inputs",
            "name",
            "empty",
            "class",
            "error",
        ],
    )
    def test_one_line_that_can_be_acted_on(self, build, message):
        with pytest.raises(UsageError, match=message):
            self.use(build)

    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            ("nowhere.py:build", "there is no such file"),
            ("FILE:other", "has no other"),
            ("build", "is not FILE.py:NAME"),
            ("no_such_module_at_all:build", "ModuleNotFoundError"),
        ],
    )
    def test_references(self, tmp_path, reference, message):
        (tmp_path / "net.py").write_text("build = 3\n")
        reference = reference.replace("FILE", str(tmp_path / "net.py"))
        with pytest.raises(UsageError, match=message):
            load_custom_network(reference)

    def test_a_file_with_a_mistake_is_named_with_its_line(self, tmp_path):
        (tmp_path / "bad.py").write_text("x = 1\ny = x +\n")
        with pytest.raises(UsageError, match=r"bad.py:2: SyntaxError"):
            load_custom_network(f"{tmp_path / 'bad.py'}:build")

    def test_a_grid_needs_a_space(self):
        with pytest.raises(UsageError, match="a grid needs a space"):
            cotune.run("digits", model=build_for_digits, sampler="grid", n_trials=1)


FILE = """
from torch import nn


def build(trial, n_classes):
    width = trial.suggest_int("width", 8, 16, step=8)
    return nn.Sequential(
        nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Dropout(trial.suggest_float("dropout", 0.0, 0.5)), nn.Linear(width, n_classes),
    )
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(FILE)
    space = folder / "training.yaml"
    space.write_text("lr: {type: float, low: 1.0e-3, high: 1.0e-1, log: true}\nepochs: 2\n")
    arguments = ["run", "digits", "--model", f"{folder / 'net.py'}:build", "--space", str(space)]
    arguments += ["--n-trials", "8", "--workers", "1", "--lanes", "8", "--out", str(folder / "run")]
    result = CliRunner().invoke(command, [*arguments, "--quiet"])
    assert result.exit_code == 0, result.output
    return folder


def test_a_run_from_the_command_line(run):
    summary = json.loads((run / "run" / "summary.json").read_text())
    assert summary["state"] == "complete"
    assert summary["lanes"]["mean"] > 1.5
    assert summary["why_alone"] == []
    assert set(summary["best"]["params"]) >= {"width", "dropout", "lr"}
    model = cotune.load(run / "run", f"{run / 'net.py'}:build")
    inputs, labels = cotune.data.load("digits").read_test()
    with torch.no_grad():
        predicted = model(torch.from_numpy(inputs)).argmax(1).numpy()
    assert (predicted == labels).mean() == pytest.approx(summary["final"]["test_accuracy"])


def test_its_files_hold_no_code(run):
    with pytest.raises(UsageError, match="give what makes it: model=build"):
        cotune.load(run / "run")
    with pytest.raises(UsageError, match="give what makes it: --model"):
        cotune.resume(run / "run", more=1)
    assert "nn.Linear" not in (run / "run" / "best" / "model.json").read_text()


@pytest.mark.slow
def test_it_is_gone_on_with_and_replayed(run):
    reference = f"{run / 'net.py'}:build"
    result = cotune.resume(run / "run", more=2, model=reference)
    assert result.summary.trials.total == 10
    replayed = CliRunner().invoke(command, ["replay", str(run / "run"), "0", "--model", reference])
    assert replayed.exit_code == 0, replayed.output


@pytest.mark.slow
def test_a_function_of_a_script_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        FILE
        + "import cotune\n"
        + "space = {'lr': {'type': 'float', 'low': 0.001, 'high': 0.1}, 'epochs': 1}\n"
        + "result = cotune.run('digits', model=build, space=space, n_trials=2, workers=1,\n"
        + f"                    out={str(tmp_path / 'run')!r})\n"
        + "print(result.model.network.net[0].out_features == result.best_params['width'])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


KERAS = """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras


def build(trial):
    width = trial.suggest_int("width", 8, 16)
    return keras.Sequential([
        keras.layers.Input((8, 8)),
        keras.layers.Flatten(),
        keras.layers.Dense(width),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("relu"),
        keras.layers.Dropout(trial.suggest_float("dropout", 0.0, 0.5)),
        keras.layers.Dense(10, activation="softmax"),
    ])
"""


@pytest.mark.slow
def test_keras_models_train_alone_on_the_torch_backend(tmp_path):
    (tmp_path / "net.py").write_text(KERAS)
    script = tmp_path / "script.py"
    script.write_text(
        "import cotune, json\n"
        f"reference = {str(tmp_path / 'net.py') + ':build'!r}\n"
        "space = {'lr': 0.01, 'label_smoothing': {'type': 'float', 'low': 0.0, 'high': 0.1},\n"
        "         'epochs': 10}\n"
        "result = cotune.run('digits', model=reference, space=space, n_trials=2, workers=1,\n"
        f"                    out={str(tmp_path / 'run')!r})\n"
        "import torch\n"
        "inputs, labels = cotune.data.load('digits').read_test()\n"
        "guess = cotune.load(result.path, reference)(torch.from_numpy(inputs)).argmax(1).numpy()\n"
        "print(json.dumps([result.test_accuracy, float((guess == labels).mean()),\n"
        "                  result.summary.why_alone, result.model.network.gives_probabilities]))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reported, measured, why, probabilities = json.loads(done.stdout.splitlines()[-1])
    assert reported == pytest.approx(measured)
    assert reported > 0.8
    assert len(why) == 1
    assert probabilities
