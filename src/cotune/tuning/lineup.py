"""The configurations that a search tries before the sampler's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cotune.data.dataset import TrainingData
from cotune.records import Value
from cotune.runs.options import Options
from cotune.space.hyperparameters import epochs_per_pass
from cotune.space.portfolio import portfolio

_ENOUGH_ROWS = 3_000  # of the validation part: a score's standard error is half a point


@dataclass(frozen=True)
class Lineup:
    """Configurations that are tried first, and how far each is trusted.

    Attributes:
        configurations: The user's, then the portfolio's; their trials have the first numbers.
        default: The number of the default configuration's trial; None without a portfolio.
        never_pruned: Numbers of trials that are always trained to their end.
    """

    configurations: tuple[Mapping[str, Value], ...] = ()
    default: int | None = None
    never_pruned: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.configurations)

    def prior_rank(self, number: int) -> int:
        """Return the prior rank of a trial: 0 enqueued or portfolio, 1 default, 2 sampled.

        Enqueued configurations, and those that the portfolio adds to the default, tend to do well;
        the sampler's best is the luckiest of many.
        """
        if number >= len(self):
            return 2
        return 1 if number == self.default else 0


def make_lineup(options: Options, training: TrainingData) -> Lineup:
    """Line up the enqueued configurations and, unless the user left it out, the portfolio.

    The default is never pruned, as the search has to be better than it. A rung is noise where few
    rows are judged by; then the rest of the portfolio, which is likely to be good, is not pruned
    either.
    """
    if not options.portfolio:
        return Lineup(tuple(options.enqueued))
    default = len(options.enqueued)
    epoch_rows = int(options.searched.constants.get("epoch_rows", 0))
    configurations = (
        *options.enqueued,
        *portfolio(options.searched, epochs_per_pass(epoch_rows, training.n_train)),
    )
    held_out = len(training.labels) - training.n_train
    end = default + 1 if held_out >= _ENOUGH_ROWS else len(configurations)
    return Lineup(configurations, default, frozenset(range(default, end)))
