"""Plain data on a model beside its scores: calibration of probabilities, importances of columns."""

from __future__ import annotations

from dataclasses import dataclass, field

from cotune.text import counted


@dataclass(frozen=True)
class Reliability:
    """Agreement of a model's probabilities with how often it is right, on some rows.

    Attributes:
        rows: How many.
        loss: Mean cross-entropy.
        error: Expected calibration error, 0-1: the mean distance of the two sides of ``bins``.
        chance: About what that is, by chance alone, of a model whose probabilities are right.
        bins: Rows in the order of their highest probability, divided into parts of equal size:
            ``(mean probability, share classified right, rows)`` of each.
    """

    rows: int
    loss: float
    error: float
    chance: float
    bins: list[tuple[float, float, int]]

    def __post_init__(self) -> None:
        if not self.bins:
            raise ValueError("bins")

    @property
    def described(self) -> str:
        """How many bins of how many rows there are, for people."""
        each = counted(round(self.rows / len(self.bins)), "row")
        return f"{counted(len(self.bins), 'bin')} of about {each}"


@dataclass(frozen=True)
class Calibration:
    """The temperature that a model divides its logits by, and what it was fitted on.

    Attributes:
        temperature: 1 where scaling does not help.
        fitted: The one that was fitted, even where it is not used; None where none was.
        rows, trainings: Held-out rows that it was fitted on, and networks that predict them.
        gain, gain_error: By how much it lowers the loss of these rows, each scaled by what was
            fitted on others, and the standard error of that mean.
        reason: Why it is not used, or "".
        chose: These rows had a part in the choice of the trial: there were no finalists.
        held_out: Of these rows, before scaling and after it; what scales a row was fitted on
            others.
        test: Of the test rows, in their one reading, before scaling and as the model predicts.
    """

    temperature: float = 1.0
    fitted: float | None = None
    rows: int = 0
    trainings: int = 0
    gain: float = 0.0
    gain_error: float = 0.0
    reason: str = ""
    chose: bool = False
    held_out: tuple[Reliability, Reliability] | None = None
    test: tuple[Reliability, Reliability] | None = None

    @property
    def described(self) -> str:
        """What is divided by, and what it was fitted on, for people."""
        fitted_on = f"{self.rows:,} held-out rows of {counted(self.trainings, 'network')}"
        if self.chose:
            fitted_on = f"{self.rows:,} validation rows, which chose the trial too"
        if self.fitted is None:
            return f"no temperature: {self.reason}"
        if self.reason:
            return f"no temperature: {self.fitted:.3f}, fitted on {fitted_on}, {self.reason}"
        return f"temperature {self.temperature:.3f}, fitted on {fitted_on}"


@dataclass(frozen=True)
class ColumnImportance:
    """The fall of a score where a column's cells are shuffled.

    Attributes:
        name: The column's.
        mean: Of all trainings and shuffles; above 0 where the score gets worse.
        sd: Their standard deviation; None of a single one.
    """

    name: str
    mean: float
    sd: float | None


@dataclass(frozen=True)
class ColumnImportances:
    """Permutation importances of a table's columns (Breiman 2001), on held-out rows.

    Attributes:
        columns: The most important first.
        metric: The score that falls: the run's.
        rows, all_rows: Held-out rows that were used, and those that there are.
        trainings: Networks of the chosen configuration, each with the fold that it did not see.
        repeats: Shuffles of each column in each of them.
        reason: Why there are none, or "".
    """

    columns: list[ColumnImportance] = field(default_factory=list)
    metric: str = "accuracy"
    rows: int = 0
    all_rows: int = 0
    trainings: int = 0
    repeats: int = 0
    reason: str = ""

    @property
    def described(self) -> str:
        """What the importances are, for people."""
        return "rise of loss" if self.metric == "loss" else f"fall of {self.metric}"
