"""``summary.json``: where a run stands, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cotune.records import ObjectiveFinalist, Scores, check_scores

RunState = Literal["running", "complete", "interrupted", "failed"]
"""``complete``: a final model was tested (or trained, where there is no test set), or a search of a
comparison is over. ``interrupted``: stopped by a signal before that. ``failed``: ended by an
error."""


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Wall clock of a run and its phases.

    Attributes:
        final: The final model and its test.
        study: Of these, in Optuna and storage.
        checkpoints: Of these, for writing checkpoints.
    """

    total: float
    search: float
    finalists: float = 0.0
    final: float
    study: float
    checkpoints: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialCounts:
    """Numbers of trials by state."""

    complete: int
    pruned: int
    failed: int
    running: int

    @property
    def total(self) -> int:
        return self.complete + self.pruned + self.failed + self.running


@dataclass(frozen=True, kw_only=True)
class BestTrial:
    """The trial that was chosen, or that ranks first so far.

    Attributes:
        value: In the search: the run's metric, or what an objective returned.
        search_best: Accuracy of the trial that ranks first; of an objective, its value.
        validation_accuracy: 0-1; None for an objective.
        baseline: Scores on the validation part of always predicting the most frequent class; None
            in runs of an older Cotune and of objectives.
        epochs: That it had in the search; None likewise.
    """

    number: int
    params: dict[str, Any]
    validation_accuracy: float | None = None
    value: float | None = None
    search_best: float | None = None
    baseline: Scores | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        check_scores(self.baseline)


@dataclass(frozen=True, kw_only=True)
class FinalSummary:
    """The final model and its test; see :class:`cotune.records.FinalResult`.

    Attributes:
        test_accuracy, test_ci95: None without a test set.
        validation_accuracy_mean, validation_accuracy_sd: Of the chosen finalist.
        default_chosen: The default configuration was the choice.
        ensemble_members: Distinct trials in the ensemble; None without one.
        warning: A line where the model is not better than the baseline, or "".
    """

    test_accuracy: float | None = None
    test_ci95: tuple[float, float] | None = None
    epochs: int
    parameters: int
    validation_accuracy_mean: float | None = None
    validation_accuracy_sd: float | None = None
    default_test_accuracy: float | None = None
    default_test_ci95: tuple[float, float] | None = None
    default_p_value: float | None = None
    default_chosen: bool = False
    test_scores: Scores | None = None
    default_test_scores: Scores | None = None
    baseline_test_scores: Scores | None = None
    warning: str | None = ""
    ensemble_test_accuracy: float | None = None
    ensemble_test_ci95: tuple[float, float] | None = None
    ensemble_members: int | None = None

    def __post_init__(self) -> None:
        check_scores(self.test_scores, self.default_test_scores, self.baseline_test_scores)
        if self.test_accuracy is not None and self.test_ci95 is None:
            raise ValueError("test_accuracy without test_ci95")
        if self.default_test_accuracy is not None and self.default_p_value is None:
            raise ValueError("default_test_accuracy without default_p_value")
        if self.ensemble_test_accuracy is not None and self.ensemble_test_ci95 is None:
            raise ValueError("ensemble_test_accuracy without ensemble_test_ci95")


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """Counts of trials that were trained together.

    Attributes:
        mean: Lanes of a cohort over all epochs of all trials; 0 where nothing was trained.
        together: Trials that were trained together with others.
        alone: Trials that were trained alone all the time.
    """

    mean: float = 0.0
    together: int = 0
    alone: int = 0


@dataclass(frozen=True, kw_only=True)
class ParetoTrial:
    """A complete trial that no other one beats in all objectives.

    Attributes:
        parameters, latency: Its costs, where they are objectives.
    """

    number: int
    value: float
    parameters: float | None = None
    latency: float | None = None

    @property
    def costs(self) -> dict[str, float]:
        named = {"parameters": self.parameters, "latency": self.latency}
        return {name: cost for name, cost in named.items() if cost is not None}


@dataclass(frozen=True)
class Summary:
    """The state of a run, or its end, as ``cotune show`` prints it.

    Attributes:
        best: None before the first report.
        final: None before the final model is tested, and for an objective.
        why_alone: Why trials of a user's own network could not be trained together with others.
        message: One line on why the run ended as it did, or "".
        pareto: With several objectives, the best value first.
        finalists: Of an objective, best first.
    """

    state: RunState
    seconds: Seconds
    trials: TrialCounts
    best: BestTrial | None = None
    final: FinalSummary | None = None
    lanes: Lanes = field(default_factory=Lanes)
    why_alone: list[str] = field(default_factory=list)
    message: str = ""
    pareto: list[ParetoTrial] = field(default_factory=list)
    finalists: list[ObjectiveFinalist] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {
            **asdict(self),
            "best": self.best and _without_none(asdict(self.best)),
            "final": self.final and _final_json(self.final),
            "lanes": asdict(self.lanes) if self.lanes.mean else {},
            "pareto": [_without_none(asdict(one)) for one in self.pareto],
        }


def _final_json(final: FinalSummary) -> dict[str, Any]:
    data = asdict(final)
    if final.ensemble_members is None:
        return {name: value for name, value in data.items() if not name.startswith("ensemble_")}
    return data


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}
