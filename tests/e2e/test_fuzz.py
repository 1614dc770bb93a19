"""Hostile bytes for whatever reads a file: a result or an error of Cotune's, never a traceback.

``make fuzz`` does more of it, led by coverage.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotune.exceptions import CotuneError
from tests.support.readers import READERS

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_NAMES = (
    *("number", "state", "value", "type", "low", "high", "choices", "when", "round", "specs"),
    *("over", "report", "finalists", "rounds", "op_code", "study_name", "sha256", "files", "lr"),
)
names = st.sampled_from(_NAMES)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
lines = st.lists(nested.map(lambda value: json.dumps(value).encode()), max_size=4)
contents = (
    st.binary(max_size=400)
    | lines.map(b"\n".join)
    | nested.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode())
    | st.tuples(names, st.binary(max_size=80)).map(lambda pair: pair[0].encode() + b",\n" + pair[1])
)


@pytest.mark.parametrize("reader", READERS)
@settings(
    max_examples=60,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=contents)
def test_any_bytes(reader: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(content)
    with contextlib.suppress(CotuneError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        READERS[reader](path)
