from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotune.exceptions import UsageError
from cotune.text import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("91", 91),
        ("90s", 90),
        (" 90 S ", 90),
        ("1.5m", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1d2h3m4s", 93784),
        ("0h1s", 1),
        (90, 90),
        (0.25, 0.25),
        (np.int64(90), 90),
        (np.float32(0.5), 0.5),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds
    assert type(parse_duration(text)) is float


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "5x",
        "5 5",
        "1h30",
        "30m1h",
        "1m1m",
        "5min",
        "ninety",
        "1e3",
        ".5",
        "-5m",
        "nan",
        "5m!",
        "1:30",
        "٩s",
        None,
        True,
        [5],
        b"5m",
        1j,
    ],
)
def test_no_durations(text):
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    message = str(caught.value)
    assert message.endswith(" is not a duration; write 90s, 5m or 2h")
    assert message.startswith("timeout: ")


@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, math.nan, -math.inf, "0s", "0h0m", " 0"])
def test_not_above_0(value):
    with pytest.raises(UsageError, match=r"^timeout: .* is not above 0; write 90s, 5m or 2h$"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", [math.inf, 10**400, 10**5000, "9" * 400], ids=["inf", "large", "huge", "text"]
)
def test_without_an_end(value):
    with pytest.raises(UsageError, match=r"^timeout: .* is not finite; write 90s, 5m or 2h$"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (-3, "0:00"),
        (0.4, "0:00"),
        (41.6, "0:42"),
        (59.6, "1:00"),
        (300, "5:00"),
        (3599.6, "1:00:00"),
        (7509, "2:05:09"),
        (100 * 3600, "100:00:00"),
    ],
)
def test_format(seconds, text):
    assert format_duration(seconds) == text


@given(st.text(alphabet="0123456789. dhms-xe", max_size=12) | st.text(max_size=6))
def test_any_text(text):
    try:
        assert 0 < parse_duration(text) < math.inf
    except UsageError as error:
        message = str(error)
        assert "\n" not in message


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_units_add_up(days, hours, minutes, seconds):
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected
