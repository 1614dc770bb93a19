from __future__ import annotations

import time

import torch

from cotune.engine import precision
from cotune.engine.precision import faster_precision


def test_the_faster_is_chosen(monkeypatch):
    """By the clock: one that runs while 16 bits are computed, one that runs while they are not."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for slow in ("float32", "bfloat16"):
        now = [0.0]
        seconds = {"float32": 1.0, "bfloat16": 1.0, slow: 2.0}

        def step_of(device, name, now=now, seconds=seconds):
            return lambda: now.__setitem__(0, now[0] + seconds[name])

        monkeypatch.setattr(precision, "_step_of", step_of)
        monkeypatch.setattr(time, "perf_counter", lambda now=now: now[0])
        assert faster_precision("cpu") != slow


def test_without_instructions_for_it_nothing_is_measured(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert faster_precision("cpu") == "float32"
