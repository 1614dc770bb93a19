from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotune.exceptions import SpaceError
from cotune.space.enqueue import check_configurations, read_configurations
from cotune.space.presets import load_space

MLP = load_space("mlp")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "first.jsonl"


def test_one_object_a_line(path):
    path.write_text('{"lr": 0.01, "n_layers": 2}\n\n  \r\n{"optimizer": "sgd", "momentum": 0}\n{}')
    assert read_configurations(path, MLP) == [
        {"lr": 0.01, "n_layers": 2},
        {"optimizer": "sgd", "momentum": 0.0},
        {},
    ]


def test_a_byte_order_mark(path):
    path.write_bytes(b'\xef\xbb\xbf{"lr": 0.01}')
    assert read_configurations(path, MLP) == [{"lr": 0.01}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"lrr": 0.01}', ": lrr: unknown hyperparameter; did you mean lr?"),
        ('{"lr": 0.5}', ": lr: 0.5 is not in 1e-05 to 0.1 (log)"),
        ('{"lr": "0.01"}', ": lr: '0.01' is not in 1e-05 to 0.1 (log)"),
        ('{"lr": NaN}', ": lr: nan is not in 1e-05 to 0.1 (log)"),
        ('{"lr": -Infinity}', ": lr: -inf is not in 1e-05 to 0.1 (log)"),
        ('{"width": 12}', ": width: 12 is not in 8 to 256 in steps of 8"),
        ('{"width": 16.0}', ": width: 16.0 is not in 8 to 256 in steps of 8"),
        (f'{{"width": {"9" * 400}}}', ": width: 99999"),
        (f'{{"width": {"9" * 5000}}}', ": holds a number of thousands of digits"),
        ('{"batch_norm": 1}', ": batch_norm: 1 is not in true, false"),
        ('{"momentum": 0.5}', ": momentum: exists only where optimizer is sgd; set that too"),
        ('{"lr": 0.01, "lr": 0.02}', ": lr: is there twice"),
        ('{"lr": {"a": 1, "a": 2}}', ": a: is there twice"),
        ('{"lr": 0.01', ":12: is not JSON: Expecting ',' delimiter"),
        ("{'lr': 0.01}", ":2: is not JSON: Expecting property name enclosed in double quotes"),
        ('{"lr": 0.01} {"lr": 0.02}', ":14: is not JSON: Extra data"),
        ("[0.01]", ': is not a JSON object such as {"lr": 0.001}'),
        ("3", ': is not a JSON object such as {"lr": 0.001}'),
        ("null", ': is not a JSON object such as {"lr": 0.001}'),
        ("lr: 0.01", ":1: is not JSON: Expecting value"),
        ("[" * 100_000, ": is nested too deeply"),
        ('{"\\ud800": 1}', ": '\\ud800': unknown hyperparameter"),
    ],
)
def test_what_is_wrong_and_where(path, line, message):
    # The separator inside the first string starts no line.
    path.write_text('{"optimizer": "sgd"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        read_configurations(path, MLP)
    assert str(caught.value).startswith(f"{path}:3{message}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_lines_are_counted_as_editors_count_them(path):
    path.write_text('{"lr\u2028": 1}\n', encoding="utf-8")
    with pytest.raises(
        SpaceError, match=r":1: 'lr.u2028': unknown hyperparameter; did you mean lr"
    ):
        read_configurations(path, MLP)


@pytest.mark.parametrize("content", ["", "\n\n", "  \r\n"])
def test_an_empty_file(path, content):
    path.write_text(content)
    with pytest.raises(SpaceError) as caught:
        read_configurations(path, MLP)
    assert str(caught.value) == f"{path}: holds no configuration; write one JSON object a line"


def test_no_file(path):
    with pytest.raises(SpaceError) as caught:
        read_configurations(path, MLP)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"
    with pytest.raises(SpaceError, match=r"cannot be read: Is a directory$"):
        read_configurations(path.parent, MLP)


def test_not_utf_8(path):
    path.write_bytes(b'{"lr": 0.01}\n{"lr\xe9": 1}\n')
    with pytest.raises(SpaceError) as caught:
        read_configurations(path, MLP)
    assert str(caught.value) == f"{path}: is not UTF-8 (byte 17)"


def test_a_file_without_an_end():
    with pytest.raises(SpaceError, match=r"^/dev/zero: is larger than 16,777,216 bytes$"):
        read_configurations(Path("/dev/zero"), MLP)


def test_many_keys_do_not_take_quadratic_time(path):
    path.write_text("{" + ",".join(f'"{i}": 1' for i in range(100_000)) + "}")
    began = time.monotonic()
    with pytest.raises(SpaceError, match=r":1: 0: unknown hyperparameter"):
        read_configurations(path, MLP)
    assert time.monotonic() - began < 5.0


def test_from_python():
    assert check_configurations([{"lr": 0.01}, {}], MLP) == [{"lr": 0.01}, {}]
    with pytest.raises(SpaceError) as caught:
        check_configurations([{}, {"lr": 2.0}], MLP)
    assert str(caught.value) == "enqueue[1]: lr: 2.0 is not in 1e-05 to 0.1 (log)"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["sgd", 0.01, 8, 2, 128]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*MLP.searched]) | st.text(max_size=5), inner, max_size=4)
    ),
)
LINES = st.lists(
    JSON.map(json.dumps) | st.text() | st.sampled_from(["{", '{"lr":', "}", "\x00", "\u2028"]),
    max_size=4,
).map(lambda lines: "\n".join(lines).encode("utf-8", "replace"))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LINES | st.binary(max_size=40))
def test_any_file_is_configurations_or_a_space_error(tmp_path, content):
    path = tmp_path / "first.jsonl"
    path.write_bytes(content)
    try:
        configurations = read_configurations(path, MLP)
    except SpaceError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert "\n" not in message
    else:
        assert all(MLP.check(params) == params for params in configurations)
