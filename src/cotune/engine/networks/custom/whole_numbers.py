"""Errors of networks that look up whole numbers, as those that begin with ``nn.Embedding``."""

from __future__ import annotations

from torch import Tensor, nn


def is_out_of_range(error: BaseException) -> bool:
    """Return whether a whole number of a row was looked up where there are fewer entries."""
    said = str(error)
    return isinstance(error, IndexError) and ("in self" in said or "out of bounds" in said)


def out_of_range(net: nn.Module, rows: Tensor) -> str:
    """Describe why a network cannot look up the whole numbers of these rows."""
    low, high = int(rows.min()), int(rows.max())
    held = f"the rows hold whole numbers from {low} to {high}"
    places = [one.num_embeddings for one in net.modules() if isinstance(one, nn.Embedding)]
    if low < 0:
        return f"{held}, and a network looks up none below 0; number them from 0"
    if places and min(places) <= high:
        return (
            f"{held}, and its nn.Embedding has places for 0 to {min(places) - 1}; give it the "
            "greatest number that can occur, plus 1, as num_embeddings"
        )
    return f"{held}, more than the network looks up"
