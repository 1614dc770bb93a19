from __future__ import annotations

import datetime
import pickle
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotune.exceptions import SpaceError
from cotune.space.hyperparameters import KNOWN, NAMES
from cotune.space.space import Space
from cotune.space.yaml import read_space, space_from_dict

PLAIN = ", ".join(NAMES)


def error_of(path: Path, content: str | bytes) -> str:
    """The message that the file gets, less the file's name."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpaceError) as caught:
        read_space(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 600
    return message.removeprefix(str(path)).removeprefix(": ")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "space.yaml"


def test_the_documented_example(path):
    path.write_text(
        "lr: {type: float, low: 1.0e-5, high: 0.1, log: true}\n"
        "optimizer: {type: categorical, choices: [adam, sgd]}\n"
        "momentum: {type: float, low: 0.0, high: 0.99, when: {optimizer: sgd}}\n"
        "epochs: 20\n"
    )
    assert read_space(path).to_dict() == {
        "epochs": 20,
        "lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
    }


def test_what_yaml_writes_it_reads(path):
    data = {
        "n_layers": {"type": "int", "low": 1, "high": 4},
        "width_3": {"type": "int", "low": 8, "high": 64, "step": 8, "when": {"n_layers": 4}},
        "weight_decay": {"type": "float", "low": 0.0, "high": 2.0, "step": 1.0},
        "batch_norm": False,
    }
    path.write_text(yaml.safe_dump(space_from_dict(data).to_dict()))
    assert read_space(path).to_dict() == space_from_dict(data).to_dict()
    assert read_space(path).to_dict()["weight_decay"]["step"] == 1.0


class TestTraps:
    def test_a_number_without_a_dot_is_a_number(self, path):
        # YAML 1.1 reads 1e-5 as a string.
        path.write_text(
            "lr: {type: float, low: 1e-5, high: 1e-1, log: true}\n"
            "weight_decay: {type: categorical, choices: [1e-5, 1e-4]}\n"
            "dropout: 1e-1\n"
        )
        space = read_space(path)
        assert space.to_dict()["lr"]["low"] == 1e-5
        assert space.to_dict()["weight_decay"]["choices"] == [1e-5, 1e-4]
        assert space.constants == {"dropout": 0.1}

    def test_children_before_their_parents(self, path):
        path.write_text(
            "momentum: {type: float, low: 0, high: 0.9, when: {optimizer: sgd}}\n"
            "optimizer: {type: categorical, choices: [adam, sgd]}\n"
        )
        assert list(read_space(path).searched) == ["optimizer", "momentum"]

    def test_yes_and_no(self, path):
        path.write_text("batch_norm: {type: categorical, choices: [yes, off]}\n")
        assert read_space(path).to_dict()["batch_norm"]["choices"] == [True, False]

    def test_a_byte_order_mark(self, path):
        path.write_bytes(b"\xef\xbb\xbflr: {type: float, low: 0.1, high: 0.2}\r\n")
        assert set(read_space(path).searched) == {"lr"}

    def test_an_alias(self, path):
        path.write_text("width_0: &w {type: int, low: 8, high: 16}\nwidth_1: *w\n")
        assert set(read_space(path).searched) == {"width_0", "width_1"}

    def test_an_upper_bound_that_no_step_meets(self, path):
        path.write_text("width: {type: int, low: 8, high: 100, step: 8}\n")
        assert read_space(path).to_dict()["width"]["high"] == 96

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("lr: {low: 1, low: 2}", ":1:14: is not YAML: the key low is there twice"),
            ("lr: 0.1\nwidth: 8\nlr: 0.2\n", ":3:1: is not YAML: the key lr is there twice"),
            (
                "lr:\n\ttype: float\n",
                ":2:1: is not YAML: found character '\\t' that cannot start any token",
            ),
            ("lr: [0.1", ":1:9: is not YAML: expected ',' or ']', but got '<stream end>'"),
            ("lr: a: b", ":1:6: is not YAML: mapping values are not allowed here"),
            ("lr: *nothing", ":1:5: is not YAML: found undefined alias 'nothing'"),
            ("? [lr]\n: 1", ":1:3: is not YAML: found unhashable key"),
            ("a: &a {lr: 1}\nwidth: {<<: *a}", ":2:9: is not YAML: merge keys (<<) are not read"),
            ("lr: {type: float, low: .nan, high: 1}", "lr.low: nan is not a finite number"),
            ("lr: {type: float, low: 0.1, high: .inf}", "lr.high: inf is not a finite number"),
            ("lr: -.inf", "lr: -inf is not a finite number"),
            ("lr: nan", "lr: nan is not a finite number"),
            (f"epochs: {'9' * 400}", "epochs: inf is not a finite number"),
            (f"epochs: {'9' * 5000}", "is not YAML: Exceeds the limit (4300 digits)"),
            ("1: {type: float, low: 1, high: 2}", f"1: unknown hyperparameter; there are {PLAIN}"),
            ("~: 1", "an empty value: unknown hyperparameter"),
            ("lr: {1: 2, type: float}", "lr.1: unknown key; there are type, low, high, step, log"),
            ("lr: {? {} : 2}", ":1:8: is not YAML: found unhashable key"),
            ('"a\\nb": 1', "'a\\nb': unknown hyperparameter"),
            ("lr: 2024-01-01", "lr: datetime.date(2024, 1, 1) is not a number"),
            ("lr: 2024-99-99", "is not YAML: month must be in 1..12"),
            ("lr: !!int x", "is not YAML: invalid literal for int()"),
            ("lr: !!bool x", "is not YAML: 'x'"),
            ("lr: !!map [a]", "is not YAML: cannot unpack"),
            ("lr: !!binary x", ":1:5: is not YAML: failed to decode base64 data"),
            ("lr: 1\n---\nlr: 2", ":2:1: is not YAML: but found another document"),
            ("", "a space maps hyperparameters to distributions; none is there"),
            ("just text", "a space maps hyperparameters to distributions; none is there"),
            ("- lr", "a space maps hyperparameters to distributions; none is there"),
            ("lr: 0.1", "nothing to search: every hyperparameter is a constant"),
            ("lr:", "lr: an empty value is not a number"),
            ("lr: [1, 2]", "lr: a list is not a number"),
            ("width: &w [*w]", "width: a list is not a number"),
            ("lr: &l {type: *l}", "lr.type: a mapping is no type; there are int, float, categor"),
            ("\0", "is not YAML: unacceptable character #x0000: special characters are not"),
        ],
    )
    def test_what_is_said(self, path, text, message):
        assert error_of(path, text).startswith(message)

    def test_not_utf_8(self, path):
        assert error_of(path, b"lr: \xff") == "is not UTF-8 (byte 4)"

    def test_deep_nesting(self, path):
        assert error_of(path, "lr: " + "[" * 20_000) == "is nested too deeply"
        assert error_of(path, "lr: " + "{a: " * 9_000) == "is nested too deeply"

    @pytest.mark.parametrize(
        "text",
        ["lr: " + "x" * 70_000, "#" * 70_000, "".join(f"a{i}: 1\n" for i in range(9_000))],
        ids=["value", "comment", "keys"],
    )
    def test_a_large_file(self, path, text):
        assert error_of(path, text) == "is larger than 65,536 bytes"

    def test_a_file_without_an_end(self):
        with pytest.raises(SpaceError, match=r"^/dev/zero: is larger than 65,536 bytes$"):
            read_space(Path("/dev/zero"))

    def test_billion_laughs(self, path):
        lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 60)]
        began = time.monotonic()
        assert error_of(path, "\n".join(lines)).startswith("a0: unknown hyperparameter")
        renamed = "\n".join(lines).replace("a59: &a59", "lr: &a59")
        assert error_of(path, renamed).startswith("a0: unknown hyperparameter")
        # The bomb as a value, in a message.
        nested = "&b0 [x]"
        for i in range(1, 40):
            nested = f"&b{i} [{nested}, *b{i - 1}, *b{i - 1}]"
        assert error_of(path, f"lr: {nested}") == "lr: a list is not a number"
        merged = "a0: &a0 {lr: 1}\n" + "\n".join(
            f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 30)
        )
        assert "merge keys (<<) are not read here" in error_of(path, merged)
        assert time.monotonic() - began < 5.0

    def test_many_keys_do_not_take_quadratic_time(self, path):
        began = time.monotonic()
        error_of(path, "{" + ",".join(f"{i}: 1" for i in range(6_000)) + "}")
        assert time.monotonic() - began < 5.0


class TestObjectTags:
    @pytest.mark.parametrize(
        "text",
        [
            "lr: !!python/object:pathlib.Path {}",
            "lr: !!python/object/apply:os.system ['touch {marker}']",
            "lr: !!python/object/new:os.system ['touch {marker}']",
            "lr: !!python/name:os.system",
            "!!python/object/apply:os.system ['touch {marker}']: 1",
            "lr: !mine 3",
        ],
    )
    def test_are_refused_and_not_executed(self, path, tmp_path, text):
        marker = tmp_path / "executed"
        message = error_of(path, text.replace("{marker}", str(marker)))
        assert "is not YAML: could not determine a constructor for the tag" in message
        assert message.startswith(":1:")
        assert not marker.exists()


LR = {"type": "float", "low": 0.1, "high": 0.2}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        # 18 low > high
        ({"lr": {**LR, "low": 0.3}}, "lr.low: 0.3 is above high, 0.2"),
        # 19 log range <= 0
        (
            {"weight_decay": {**LR, "low": 0, "log": True}},
            "weight_decay.low: 0 with log: true; a log range starts above 0",
        ),
        ({"lr": {**LR, "low": -1, "log": True}}, "lr.low: -1 with log: true; a log range starts"),
        # 20 NaN/inf bound
        ({"lr": {**LR, "low": float("nan")}}, "lr.low: nan is not a finite number"),
        ({"lr": {**LR, "high": float("inf")}}, "lr.high: inf is not a finite number"),
        ({"lr": {**LR, "high": 10**5000}}, "lr.high: inf is not a finite number"),
        # 21 empty or duplicate choices
        (
            {"optimizer": {"type": "categorical", "choices": []}},
            "optimizer.choices: needs a list of at least one value",
        ),
        (
            {"optimizer": {"type": "categorical"}},
            "optimizer.choices: needs a list of at least one value",
        ),
        (
            {"optimizer": {"type": "categorical", "choices": "sgd"}},
            "optimizer.choices: needs a list of at least one value",
        ),
        (
            {"optimizer": {"type": "categorical", "choices": ["sgd", "adam", "sgd"]}},
            "optimizer.choices[2]: 'sgd' is there twice",
        ),
        (
            {"batch_size": {"type": "categorical", "choices": [16, 16.0]}},
            "batch_size.choices[1]: 16 is there twice",
        ),
        # 22 unknown name
        ({"lrr": LR}, "lrr: unknown hyperparameter; did you mean lr?"),
        ({"LR": LR}, "LR: unknown hyperparameter; did you mean lr?"),
        ({"learning_rate": LR}, f"learning_rate: unknown hyperparameter; there are {PLAIN}"),
        ({"width_11": LR}, "width_11: unknown hyperparameter; did you mean width_1?"),
        (
            {"optimizer": {"type": "categorical", "choices": ["adma"]}},
            "optimizer.choices[0]: 'adma' is not one of adam, adamw, sgd, rmsprop",
        ),
        # 23 bad type or condition
        ({"lr": {"low": 1, "high": 2}}, "lr.type: an empty value is no type; there are int, float"),
        ({"lr": {**LR, "type": "flaot"}}, "lr.type: 'flaot' is no type; did you mean float?"),
        (
            {"lr": {**LR, "type": []}},
            "lr.type: a list is no type; there are int, float, categorical",
        ),
        ({"lr": {**LR, "type": "int"}}, "lr.type: lr is a float, not int"),
        ({"width": {**LR, "low": 1, "high": 2}}, "width.type: width is a whole number; use int"),
        ({"optimizer": LR}, "optimizer.type: optimizer is a str, not float"),
        ({"lr": {**LR, "lowest": 1}}, "lr.lowest: unknown key; did you mean low?"),
        ({"lr": {"type": "float", "low": 1}}, "lr.high: is missing"),
        ({"lr": {"type": "float", "high": 1}}, "lr.low: is missing"),
        ({"lr": {**LR, "low": None}}, "lr.low: an empty value is not a number"),
        ({"lr": {**LR, "low": True}}, "lr.low: True is not a number"),
        ({"lr": {**LR, "low": "small"}}, "lr.low: 'small' is not a number"),
        ({"lr": {**LR, "log": "yes"}}, "lr.log: 'yes' is not true or false"),
        ({"lr": {**LR, "log": True, "step": 0.1}}, "lr.step: a log range has no step"),
        ({"lr": {**LR, "step": 0}}, "lr.step: 0 is not above 0"),
        ({"lr": {**LR, "step": 1e-320}}, "lr.step: 9.99989e-321 is too small for the range"),
        ({"lr": {**LR, "low": 1e-13}}, "lr.low: 1e-13 is outside 1e-12 to 100"),
        ({"dropout": {**LR, "high": 1}}, "dropout.high: 1 is outside 0 to 0.95"),
        (
            {"batch_size": {"type": "int", "low": 1, "high": 8}},
            "batch_size.low: 1 is outside 2 to 1048576",
        ),
        (
            {"width": {"type": "int", "low": 8.5, "high": 16}},
            "width.low: 8.5 is not a whole number",
        ),
        ({"width": 8.5, "lr": LR}, "width: 8.5 is not a whole number"),
        ({"batch_norm": "maybe", "lr": LR}, "batch_norm: 'maybe' is not one of true, false"),
        ({"batch_norm": 10**5000}, "batch_norm: a number of thousands of digits is not one of"),
        (
            {"lr": {**LR, "when": "sgd"}},
            "lr.when: maps hyperparameters to values, as in {optimizer: sgd}",
        ),
        (
            {"lr": {**LR, "when": {"optimizer": "sgd"}}, "width": 8},
            "lr.when.optimizer: is not in this space; there are width",
        ),
        (
            {"lr": {**LR, "when": {"optimiser": "sgd"}}, "optimizer": "sgd"},
            "lr.when.optimiser: is not in this space; did you mean optimizer?",
        ),
        (
            {"lr": {**LR, "when": {"optimizer": "sgdd"}}, "optimizer": "sgd"},
            "lr.when.optimizer: 'sgdd' is not one of adam, adamw, sgd, rmsprop",
        ),
        (
            {"lr": {**LR, "when": {"optimizer": "adam"}}, "optimizer": "sgd"},
            "lr.when.optimizer: optimizer is never adam in this space",
        ),
        (
            {"lr": {**LR, "when": {"optimizer": []}}, "optimizer": "sgd"},
            "lr.when.optimizer: needs at least one value",
        ),
        (
            {
                "lr": {**LR, "when": {"n_layers": 7}},
                "n_layers": {"type": "int", "low": 1, "high": 5},
            },
            "lr.when.n_layers: n_layers is never 7 in this space",
        ),
        ({"lr": {**LR, "when": {"lr": 0.1}}}, "lr.when: conditions go round in a circle"),
        (
            {"lr": {**LR, "when": {"dropout": 0.1}}, "dropout": {**LR, "when": {"lr": 0.1}}},
            "lr.when: conditions go round in a circle",
        ),
        ({"lr": datetime.date(2024, 1, 1)}, "lr: datetime.date(2024, 1, 1) is not a number"),
    ],
)
def test_each_fault_has_its_line(entry, message):
    with pytest.raises(SpaceError) as caught:
        space_from_dict(entry)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


# -- anything at all -----------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["sgd", "adam", "1e-3", "int", "float", "categorical", "0.5", 1, 8, 0.1])
)
KEYS = st.sampled_from(
    [*list(KNOWN)[:12], "type", "low", "high", "step", "log", "when", "choices"]
) | st.text(max_size=4)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
ENTRY = st.fixed_dictionaries(
    {"type": st.sampled_from(["int", "float", "categorical"])},
    optional={
        "low": SCALARS,
        "high": SCALARS,
        "step": SCALARS,
        "log": SCALARS,
        "choices": NESTED,
        "when": st.dictionaries(st.sampled_from(list(KNOWN)[:12]), NESTED, max_size=2) | NESTED,
    },
)
DATA = NESTED | st.dictionaries(st.sampled_from(list(KNOWN)), ENTRY | SCALARS, max_size=4)


@settings(max_examples=400, deadline=None)
@given(DATA)
def test_any_data_is_a_space_or_a_space_error(data):
    try:
        space = space_from_dict(data)
    except SpaceError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 600
    else:
        assert isinstance(space, Space)
        assert space.check(space.default()) == space.default()


# fmt: off
FRAGMENTS = st.sampled_from([
    "lr: ", "\n", "  ", "{", "}", "[", "]", ",", "type: float", "low: ", "high: ", "0.1",
    "1e-3", "&a ", "*a", "!!int ", "!!python/name:os ", "!!set ", "!!omap ", "!!timestamp ",
    "<<: ", "? ", "- ", "'", "\"", "#", "%YAML 1.2\n", "---\n", "\t", ".nan", "0b_", "0x",
    "1:2", "~", "=", "\x85", "\ud7ff",
])
# fmt: on


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(FRAGMENTS, max_size=25).map("".join).map(str.encode)
    | st.text().map(lambda text: text.encode("utf-8", "replace"))
    | st.binary(max_size=60)
    | DATA.map(lambda data: yaml.safe_dump(data).encode("utf-8", "surrogatepass"))
)
def test_any_file_is_a_space_or_a_space_error(tmp_path, content):
    path = tmp_path / "space.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(read_space(path), Space)
    except SpaceError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert "\n" not in message


def test_a_pickle_is_no_space(path, tmp_path):
    class Touch:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    error_of(path, pickle.dumps(Touch()))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "n_blocks: {type: int, low: 1, high: 2}",
            "n_blocks: is for model cnn, this space is for model mlp",
        ),
        (
            "model: cnn\nwidth_1: 8\nlr: {type: float, low: 0.1, high: 1}",
            "width_1: is for model mlp, this space is for model cnn",
        ),
        (
            "model: {type: categorical, choices: [mlp]}\nn_blocks: {type: int, low: 1, high: 2}",
            "n_blocks: is for model cnn, this space is for model mlp",
        ),
        (
            "model: cnn\nkernel_size: {type: int, low: 1, high: 4}",
            "kernel_size.type: kernel_size is one of 1, 3, 5, 7; use categorical",
        ),
    ],
)
def test_families_are_not_mixed(tmp_path: Path, content: str, message: str) -> None:
    assert error_of(tmp_path / "space.yaml", content) == message


def test_where_both_models_are_searched_each_has_its_own_hyperparameters():
    space = space_from_dict(
        {
            "n_layers": {"type": "int", "low": 1, "high": 3},
            "n_blocks": {"type": "int", "low": 1, "high": 3},
            "filters_1": {"type": "int", "low": 8, "high": 16, "when": {"n_blocks": [2, 3]}},
            "kernel_size": 5,
            "model": {"type": "categorical", "choices": ["cnn", "mlp"]},
        }
    )
    assert space.families == ("cnn", "mlp")
    assert space.default() == {"model": "cnn", "n_blocks": 2, "filters_1": 16}
    assert space.default({"model": "mlp"}) == {"n_layers": 2, "model": "mlp"}
    assert space.complete({"model": "cnn", "n_blocks": 1})["kernel_size"] == 5
    assert not {"kernel_size", "n_blocks"} & space.complete({"model": "mlp"}).keys()
    assert space_from_dict(space.to_dict()).to_dict() == space.to_dict()
