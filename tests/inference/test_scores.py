"""Logits of many rows on devices that fail, or have little memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cotune.exceptions import StorageError
from cotune.inference.scores import compute_logits

ROWS = np.random.default_rng(0).standard_normal((5000, 3)).astype(np.float32)


class Small(nn.Module):
    """A network on a device that has room for so many rows."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.layer = nn.Linear(3, 2)

    def forward(self, rows: Tensor) -> Tensor:
        if len(rows) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        out: Tensor = self.layer(rows)
        return out


def test_fewer_rows_at_a_time_where_memory_runs_out():
    network = Small(300)
    with torch.no_grad():
        expected = network.layer(torch.from_numpy(ROWS)).double()
    torch.testing.assert_close(compute_logits(network, ROWS), expected, rtol=1e-6, atol=1e-6)


def test_no_room_for_one():
    with pytest.raises(StorageError, match=r"^device: cpu has too little memory for one row$"):
        compute_logits(Small(0), ROWS[:4])


def test_a_device_that_fails():
    with pytest.raises(StorageError, match=r"^device: meta failed: [^\n]+; use --device cpu$"):
        compute_logits(Small(9999), ROWS, "meta")
