from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotune.data import Standardize
from cotune.engine.networks import CNN, MLP, CNNArchitecture, MLPArchitecture
from cotune.engine.networks.custom.lane_dropout import dropout_rates_of
from cotune.exceptions import ModelFileError, StorageError
from cotune.inference.model_file import (
    Classifier,
    load_model,
    module_from_weights,
    save_model,
    signed,
)
from cotune.space.hyperparameters import MAX_LAYERS

WEIGHTS, CARD = "model.safetensors", "model.json"


def make_model(widths=(5, 4), batch_norm=True, input_shape=(2, 3), classes=3) -> Classifier:
    """A model that was trained for a moment, so that no weight and no statistic is a default."""
    torch.manual_seed(3)
    features = 1
    for size in input_shape:
        features *= size
    network = MLP(MLPArchitecture(features, widths, batch_norm, classes), [0.25] * len(widths))
    images = len(input_shape) > 1
    mean = 3.25 if images else tuple(0.5 + i for i in range(features))
    std = 2.0 if images else tuple(1.5 + i for i in range(features))
    preprocessing = Standardize(mean, std, input_shape)
    model = Classifier(network, preprocessing, tuple(f"<class {i}>" for i in range(classes)))
    return trained(model, input_shape)


def make_cnn(input_shape=(5, 4), batch_norm=True, dense=6, classes=3) -> Classifier:
    """Likewise."""
    torch.manual_seed(3)
    height, width, channels = (*input_shape, 1)[:3]
    shape = CNNArchitecture((height, width, channels), (4, 5), 3, batch_norm, dense, classes)
    preprocessing = Standardize(3.25, 2.0, input_shape)
    names = tuple(f"<class {i}>" for i in range(classes))
    return trained(Classifier(CNN(shape, [0.25]), preprocessing, names), input_shape)


def trained(model: Classifier, input_shape) -> Classifier:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(16, *input_shape)).square().mean().backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def folder(tmp_path) -> Path:
    save_model(tmp_path / "best", make_model(), {"lr": 0.1, "optimizer": "sgd"}, "1.2.3")
    return tmp_path / "best"


def read_card(folder: Path):
    return json.loads((folder / CARD).read_text())


def write_card(folder: Path, card) -> None:
    """With its checksum made to agree: what a forger does."""
    (folder / CARD).write_bytes(signed(card))


def write_weights(folder: Path, content: bytes) -> None:
    """Other weights, likewise."""
    card = read_card(folder)
    card["weights"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    write_card(folder, card)
    (folder / WEIGHTS).write_bytes(content)


def error_of(folder: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_model(folder)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert str(caught.value).startswith(str(folder))
    return str(caught.value).removeprefix(str(folder)).lstrip("/")


class TestRoundTrip:
    @pytest.mark.parametrize("batch_norm", [True, False])
    @pytest.mark.parametrize("widths", [(), (7,), (5, 4, 3)])
    @pytest.mark.parametrize("input_shape", [(6,), (2, 3)])
    def test_it_predicts_the_same_bits(self, tmp_path, batch_norm, widths, input_shape):
        model = make_model(widths, batch_norm, input_shape)
        save_model(tmp_path, model, {}, "1")
        again = load_model(tmp_path)
        rows = torch.randn(50, *input_shape) * 10
        with torch.no_grad():
            assert torch.equal(again(rows), model(rows))
        assert again.classes == model.classes
        assert again.preprocessing == model.preprocessing
        assert not again.training
        assert dropout_rates_of(again.network) == [0.25] * len(widths)

    @pytest.mark.parametrize("batch_norm", [True, False])
    @pytest.mark.parametrize("input_shape", [(5, 4), (4, 5, 3)])
    @pytest.mark.parametrize("dense", [0, 6])
    def test_a_cnn_predicts_the_same_bits(self, tmp_path, batch_norm, input_shape, dense):
        model = make_cnn(input_shape, batch_norm, dense)
        save_model(tmp_path, model, {}, "1")
        again = load_model(tmp_path)
        rows = torch.randn(50, *input_shape) * 10
        with torch.no_grad():
            assert torch.equal(again(rows), model(rows))
        assert again.network.architecture == model.network.architecture
        assert again.preprocessing == model.preprocessing
        assert not again.training
        assert dropout_rates_of(again.network) == [0.25]

    def test_from_the_run_or_its_best_folder(self, folder):
        rows = torch.randn(4, 2, 3)
        assert torch.equal(load_model(folder)(rows), load_model(folder.parent)(rows))
        assert torch.equal(load_model(str(folder))(rows), load_model(folder.parent)(rows))

    def test_whole_numbers_are_rows_too(self, folder):
        model = load_model(folder)
        pixels = torch.randint(0, 256, (4, 2, 3), dtype=torch.uint8)
        assert torch.equal(model(pixels), model(pixels.float()))

    def test_more_classes_than_a_network_has_layers(self, tmp_path):
        names = tuple(f"class {i}" for i in range(3 * MAX_LAYERS))
        counts = (0, *range(1, len(names)))
        model = make_model()
        network = MLPArchitecture(6, (5, 4), True, len(names)).module([0.25, 0.25])
        model = Classifier(network, model.preprocessing, names, counts)
        save_model(tmp_path, model, {}, "1")
        assert load_model(tmp_path).classes == names
        assert load_model(tmp_path).class_counts == counts

    @pytest.mark.parametrize("counts", [[1], [0, 0, 0], [1, 2, -3], [1, 2, "3"], "abc", {}])
    def test_no_counts_of_rows(self, folder, counts):
        write_card(folder, {**read_card(folder), "class_counts": counts})
        assert error_of(folder) == f"{CARD}: is incomplete or damaged"

    @pytest.mark.parametrize("temperature", [0.37, 2.5])
    def test_the_temperature(self, tmp_path, temperature):
        model, rows = make_model(), torch.randn(20, 2, 3)
        with torch.no_grad():
            plain = model(rows)
            model.temperature = temperature
            save_model(tmp_path, model, {}, "1")
            assert torch.equal(load_model(tmp_path)(rows), plain / temperature)
            card = read_card(tmp_path)
            del card["temperature"]  # of an older Cotune
            write_card(tmp_path, card)
            assert torch.equal(load_model(tmp_path)(rows), plain)

    @pytest.mark.parametrize("wrong", [0.0, -1.0, 1e-9, 1e9, "1", None, float("nan")])
    def test_no_temperature(self, folder, wrong):
        write_card(folder, {**read_card(folder), "temperature": wrong})
        assert error_of(folder) == f"{CARD}: is incomplete or damaged"

    def test_the_card_is_for_people(self, folder):
        card = read_card(folder)
        assert card["hyperparameters"] == {"lr": 0.1, "optimizer": "sgd"}
        assert card["cotune"] == "1.2.3"
        assert sorted(os.listdir(folder)) == [CARD, WEIGHTS]

    def test_other_programs_read_the_weights(self, folder):
        state = safetensors.torch.load_file(folder / WEIGHTS)
        model = load_model(folder)
        assert state.keys() == model.network.state_dict().keys()

    def test_a_lane_is_the_module_it_says(self):
        model = make_model()
        shape = model.network.architecture
        assert isinstance(shape, MLPArchitecture)
        weights = {name: value.numpy() for name, value in model.network.state_dict().items()}
        twin = module_from_weights(shape, [0.25, 0.25], weights)
        rows = torch.randn(8, 6)
        assert torch.equal(twin(rows), model.network(rows))
        assert not twin.training

    @pytest.mark.parametrize("place", ["/proc/cotune/best", "/dev/null/best"])
    def test_a_place_that_cannot_be_written(self, place):
        with pytest.raises(StorageError, match=f"^{place}: cannot be written: "):
            save_model(Path(place), make_model(), {}, "1")


class TestDamage:
    @pytest.mark.parametrize("where", [-1, 0, 8, 200])
    def test_one_altered_byte(self, folder, where):
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[where] ^= 1
        (folder / WEIGHTS).write_bytes(content)
        assert error_of(folder) == f"{WEIGHTS}: is damaged or was altered (its SHA-256 differs)"

    def test_an_altered_card(self, folder):
        """Fault 70."""
        card = read_card(folder)
        changes: list[dict[str, object]] = [
            {"classes": card["classes"][::-1]},
            {"preprocessing": {**card["preprocessing"], "mean": 3.5}},
            {"hyperparameters": {}},
            {"sha256": None},
        ]
        for change in changes:
            (folder / CARD).write_text(json.dumps({**card, **change}))
            assert error_of(folder) == f"{CARD}: is damaged or was altered (its SHA-256 differs)"
        (folder / CARD).write_text(json.dumps(dict(reversed(card.items()))))  # the same in effect
        load_model(folder)

    @pytest.mark.parametrize("size", [0, 1, 300])
    def test_a_truncated_file(self, folder, size):
        with open(folder / WEIGHTS, "r+b") as file:
            file.truncate(size)
        message = error_of(folder)
        assert message == f"{WEIGHTS}: has {size} bytes, its architecture 404"

    def test_a_file_far_too_large_is_not_read(self, folder):
        with open(folder / WEIGHTS, "r+b") as file:
            file.truncate(1 << 40)  # sparse: it takes no room on the disk
        assert error_of(folder).startswith(f"{WEIGHTS}: has 1,099,511,627,776 bytes")
        with open(folder / CARD, "r+b") as file:
            file.truncate(1 << 40)
        assert error_of(folder) == f"{CARD}: is too large to be a model's description"

    def test_a_missing_file(self, folder):
        os.remove(folder / WEIGHTS)
        assert error_of(folder) == f"{WEIGHTS}: cannot be read: No such file or directory"
        os.remove(folder / CARD)
        assert error_of(folder) == ": no model is there (no model.json)"

    def test_no_model(self, tmp_path):
        assert error_of(tmp_path) == ": no model is there (no model.json)"
        (tmp_path / "best").mkdir()
        assert error_of(tmp_path) == "best: no model is there (no model.json)"
        (tmp_path / CARD).mkdir()
        assert error_of(tmp_path) == f"{CARD}: cannot be read: Is a directory"

    def test_a_name_longer_than_the_system_allows(self):
        assert "cannot be read: File name too long" in error_of(Path("/tmp/" + "x" * 300))

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"\xff", b"9" * 5000, b"[" * 200_000, b'{"format": NaN', b"\x80\x04N."],
        ids=["empty", "cut", "bytes", "digits", "nested", "nan", "pickle"],
    )
    def test_no_json(self, folder, content):
        (folder / CARD).write_bytes(content)
        assert error_of(folder) == f"{CARD}: is not JSON"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": "pickle"}, "is not a Cotune model"),
            ({"version": 1}, "is of version 1, this Cotune reads 2"),
            ({"version": None}, "is of version an empty value, this Cotune reads 2"),
            ({"version": "2"}, "is of version '2', this Cotune reads 2"),
            ({"classes": "abc"}, "is incomplete or damaged"),
            ({"classes": ["a", "b"]}, "its parts contradict each other"),
            ({"classes": ["a", "b", 3]}, "is incomplete or damaged"),
            ({"architecture": []}, "is incomplete or damaged"),
            ({"weights": []}, "is incomplete or damaged"),
            ({"preprocessing": {}}, "preprocessing: a mapping with its kind expected; export"),
        ],
    )
    def test_a_changed_card(self, folder, change, message):
        write_card(folder, {**read_card(folder), **change})
        assert error_of(folder).startswith(f"{CARD}: {message}")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"family": "rnn"}, f"{CARD}: unknown family 'rnn'; a newer Cotune may read it"),
            ({"family": "cnn"}, f"{CARD}: is incomplete or damaged"),
            ({"widths": []}, f"{CARD}: is incomplete or damaged"),
            ({"family": ["x"] * 9}, f"{CARD}: unknown family a list; a newer"),
            ({"widths": [5]}, f"{CARD}: is incomplete or damaged"),
            ({"widths": [5, 0]}, f"{CARD}: is incomplete or damaged"),
            ({"widths": [5, True]}, f"{CARD}: is incomplete or damaged"),
            ({"widths": [1] * (MAX_LAYERS + 1)}, f"{CARD}: is incomplete or damaged"),
            ({"widths": [10**400, 5]}, f"{CARD}: is incomplete or damaged"),
            ({"widths": 5}, f"{CARD}: is incomplete or damaged"),
            ({"batch_norm": "false"}, f"{CARD}: is incomplete or damaged"),
            ({"dropout": [0.1, 1.0]}, f"{CARD}: is incomplete or damaged"),
            ({"dropout": [0.1, float("nan")]}, f"{CARD}: is incomplete or damaged"),
            ({"dropout": [0.1, 10**400]}, f"{CARD}: is incomplete or damaged"),
            ({"n_inputs": 7}, f"{CARD}: its parts contradict each other"),
            ({"widths": [4, 5]}, f"{WEIGHTS}: the weights do not fit the architecture"),
            ({"batch_norm": False}, f"{WEIGHTS}: the weights do not fit the architecture"),
        ],
    )
    def test_a_changed_architecture(self, folder, change, message):
        card = read_card(folder)
        card["architecture"].update(change)
        write_card(folder, card)
        assert error_of(folder).startswith(message)


class TestChangedConvolutions:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        save_model(tmp_path / "best", make_cnn(), {}, "1")
        return tmp_path / "best"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"family": "mlp"}, f"{CARD}: is incomplete or damaged"),
            ({"filters": [], "dropout": []}, f"{CARD}: is incomplete or damaged"),
            ({"filters": []}, f"{CARD}: is incomplete or damaged"),
            ({"filters": [4, 0]}, f"{CARD}: is incomplete or damaged"),
            ({"filters": [1] * (MAX_LAYERS + 1)}, f"{CARD}: is incomplete or damaged"),
            ({"kernel": 0}, f"{CARD}: is incomplete or damaged"),
            ({"kernel": 3.0}, f"{CARD}: is incomplete or damaged"),
            ({"dense": -1}, f"{CARD}: is incomplete or damaged"),
            ({"image": [5, 4]}, f"{CARD}: is incomplete or damaged"),
            ({"image": [5, 4, 0]}, f"{CARD}: is incomplete or damaged"),
            ({"dropout": []}, f"{CARD}: is incomplete or damaged"),
            ({"image": [5, 4, 2]}, f"{CARD}: its parts contradict each other"),
            ({"image": [10, 2, 1]}, f"{WEIGHTS}: the weights do not fit the architecture"),
            ({"filters": [5, 4]}, f"{WEIGHTS}: the weights do not fit the architecture"),
            ({"batch_norm": False}, f"{WEIGHTS}: the weights do not fit the architecture"),
            ({"filters": [2**40, 2**40]}, f"{WEIGHTS}: has "),
            ({"kernel": 2**40 + 1}, f"{WEIGHTS}: has "),
            ({"dense": 2**40}, f"{WEIGHTS}: has "),
        ],
    )
    def test_is_refused(self, folder, change, message):
        card = read_card(folder)
        card["architecture"].update(change)
        write_card(folder, card)
        assert error_of(folder).startswith(message)


class TestMalice:
    @pytest.mark.parametrize("widths", [[10**12, 4], [10**12, 10**12], [2**48, 2**48]])
    def test_a_claim_to_more_memory_than_there_is(self, folder, widths):
        card = read_card(folder)
        card["architecture"]["widths"] = widths
        write_card(folder, card)
        began = time.monotonic()
        tracemalloc.start()
        message = error_of(folder)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert f"{WEIGHTS}: has " in message
        assert peak < 4 << 20
        assert time.monotonic() - began < 1.0

    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_a_pickle_is_never_executed(self, folder, tmp_path, protocol):
        marker = tmp_path / "executed"

        class Touch:
            def __reduce__(self):
                return (Path.touch, (marker,))

        content = pickle.dumps(Touch(), protocol) + b"\0" * 500
        write_weights(folder, content)
        assert error_of(folder) == f"{WEIGHTS}: is not a safetensors file of weights"
        torch.save({"hidden.0.weight": Touch()}, folder / WEIGHTS)
        write_weights(folder, (folder / WEIGHTS).read_bytes())
        assert error_of(folder) == f"{WEIGHTS}: is not a safetensors file of weights"
        assert not marker.exists()
        (folder / CARD).write_bytes(pickle.dumps(Touch(), protocol))
        error_of(folder)
        assert not marker.exists()

    def test_a_header_that_lies(self, folder):
        def with_header(header: bytes) -> bytes:
            return len(header).to_bytes(8, "little") + header + b"\0" * 400

        for header in (
            b'{"x": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 400]}}',
            b'{"x": {"dtype": "F32", "shape": [100], "data_offsets": [0, 4000000000000]}}',
            b'{"x": {"dtype": "F9", "shape": [100], "data_offsets": [0, 400]}}',
            b'{"x": {"dtype": "F4", "shape": [800], "data_offsets": [0, 400]}}',
            b'{"x": {"dtype": "C64", "shape": [50], "data_offsets": [0, 400]}}',
            b"{",
            b"[]",
            b"\xff" * 20,
        ):
            write_weights(folder, with_header(header))
            assert error_of(folder).startswith(WEIGHTS)
        write_weights(folder, b"\xff" * 600)
        assert error_of(folder) == f"{WEIGHTS}: is not a safetensors file of weights"

    def test_weights_of_another_model(self, folder, tmp_path):
        save_model(tmp_path / "other", make_model(classes=4), {}, "1")
        shutil.copy(tmp_path / "other" / WEIGHTS, folder / WEIGHTS)
        assert "SHA-256 differs" in error_of(folder)
        write_weights(folder, (tmp_path / "other" / WEIGHTS).read_bytes())
        assert error_of(folder) == f"{WEIGHTS}: the weights do not fit the architecture"


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=4)
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_card_is_a_classifier_or_a_model_file_error(folder, data):
    original = (folder / CARD).read_text()
    card = json.loads(original)
    for _ in range(data.draw(st.integers(1, 2))):
        target = card
        while True:
            keys = sorted(target) if isinstance(target, dict) else range(len(target))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(target[key], (dict, list)) or not target[key]:
                break
            if data.draw(st.booleans()):
                break
            target = target[key]
        target[key] = data.draw(NESTED)
    try:
        write_card(folder, card)
        assert isinstance(load_model(folder), Classifier)
    except ModelFileError as error:
        message = str(error)
        assert "\n" not in message
    finally:
        (folder / CARD).write_text(original)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(min_size=300, max_size=400) | st.binary(max_size=20))
def test_any_weights_are_a_model_file_error(folder, content):
    write_weights(folder, content)
    error_of(folder)
