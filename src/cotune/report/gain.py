"""What tuning gained over the default configuration, in the words of every report."""

from __future__ import annotations

from typing import NamedTuple

from cotune.records import SIGNIFICANT


class Gain(NamedTuple):
    """A difference of two test accuracies.

    Attributes:
        verb: ``gained`` or ``lost``.
        points: The difference's size, 0-1.
        noise: ``beyond`` or ``within`` noise.
    """

    verb: str
    points: float
    noise: str


def gain_over(default: float, accuracy: float, p_value: float | None) -> Gain:
    """Compare the final model's accuracy with the default's.

    Args:
        p_value: Of the difference; None where it was not tested, which counts as noise.
    """
    return Gain(
        "gained" if accuracy >= default else "lost",
        abs(accuracy - default),
        "beyond" if p_value is not None and p_value < SIGNIFICANT else "within",
    )
