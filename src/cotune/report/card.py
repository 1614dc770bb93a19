"""A model card in Markdown, with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from cotune.engine.networks import CUSTOM
from cotune.exceptions import ModelFileError
from cotune.inference.model_file import model_folder, read_card
from cotune.records import FinalResult
from cotune.report.gain import gain_over
from cotune.report.html import text
from cotune.report.html.html_file import facts, read_template
from cotune.report.html.page import search_settings
from cotune.runs.config import RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary
from cotune.text import counted, shown_class

_MOST: Final = 60  # classes or columns that are named
_FEW_ROWS: Final = 30  # of a class in the test set
_HUB: Final = {
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced_accuracy",
    "f1": "f1",
    "auc": "roc_auc",
    "loss": "log_loss",
}
"""Names of metrics on the hub, by ours."""


def model_card(run: RunDirectory) -> str:
    """Return the model card of a run's final model.

    Raises:
        ModelFileError: The run has no final model, or it is damaged.
        UsageError: It is a run of an objective.
        StorageError: A file of the run cannot be read.
    """
    config, summary, final = run.data_config(), run.summary(), run.final()
    if final is None or summary.best is None:
        raise ModelFileError(f"{run.path}: has no final model to describe; it is {summary.state}")
    described = read_card(model_folder(run.path))
    task = _task(run, config)
    best = summary.best.number
    return _render(
        front_matter=_front_matter(config, final, task),
        config=config,
        data=config.dataset,
        summary=summary,
        final=final,
        readings=len(run.readings()),
        scored=_scored(config, final),
        gain=_gain(final, is_default=final.default_number == best),
        finalist=next((one for one in final.finalists if one.number == best), None),
        by_class=_by_class(config, final, described.get("class_counts")),
        takes={"tabular": "rows of a table", "image": "images"}.get(task, "arrays"),
        model=described,
        columns=described["preprocessing"].get("columns") or [],
        is_custom=described["architecture"]["family"] == CUSTOM,
        search=_search(config, summary),
        most=_MOST,
        few_rows=_FEW_ROWS,
    )


def _render(**context: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        code=_code, prose=_prose, counted=counted, percent=text.percent, value=text.value
    )
    page = environment.get_template("card.md.j2").render(**context)
    return re.sub(r"\n{3,}", "\n\n", page)


def _code(item: object) -> str:
    """Return a name from the data so that Markdown shows it as it is, in a table too."""
    line = " ".join(str(item).split()).replace("|", "\\|")
    runs = re.findall("`+", line)
    fence = "`" * (1 + max(map(len, runs), default=0))
    pad = " " if runs or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _prose(line: str) -> str:
    """Return a line that may have names from the data in it, without Markdown or HTML."""
    return re.sub(r"([\\`*_<>\[\]|#&])", r"\\\1", " ".join(line.split()))


def _task(run: RunDirectory, config: RunConfig) -> str:
    """Return ``tabular``, ``image``, or "" where it cannot be told."""
    if config.dataset.columns:
        return "tabular"
    return "image" if run.samples_path.exists() else ""


def _front_matter(config: RunConfig, final: FinalResult, task: str) -> str:
    """Return what the hub can know: nothing is guessed, and the licence is its owner's."""
    kind = f"{task}-classification" if task else "other"
    known = {"accuracy": final.test_accuracy, **final.test_scores}
    scores = [
        {"type": hub, "value": round(value, 6), "name": f"test {name}"}
        for name, hub in _HUB.items()
        if (value := known.get(name)) is not None
    ]
    dataset = {"type": "custom", "name": config.dataset.name, "split": "test"}
    results = [{"task": {"type": kind}, "dataset": dataset, "metrics": scores}]
    content = {
        "library_name": "cotune",
        **({"pipeline_tag": kind} if task else {}),
        "tags": ["cotune", "pytorch", "optuna"],
        **({"metrics": [one["type"] for one in scores]} if scores else {}),
        **({"model-index": [{"name": config.dataset.name, "results": results}]} if scores else {}),
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _scored(config: RunConfig, final: FinalResult) -> list[tuple[str, str, Mapping[str, float]]]:
    """Return the rows of the table of scores: whose they are, the interval, and the scores."""
    always = config.dataset.baseline_class
    frequent = "the most frequent class" if always is None else _code(shown_class(always))
    rows = (
        ("**this model**", final.test_accuracy, final.test_ci95, final.test_scores),
        (
            "the default configuration",
            final.default_test_accuracy,
            final.default_test_ci95,
            final.default_test_scores,
        ),
        (
            f"always {frequent}",
            final.baseline_test_scores.get("accuracy"),
            None,
            final.baseline_test_scores,
        ),
    )
    return [
        (name, text.interval(interval) if interval else "", {"accuracy": accuracy, **scores})
        for name, accuracy, interval, scores in rows
        if accuracy is not None
    ]


def _gain(final: FinalResult, *, is_default: bool) -> str:
    """Say whether tuning gained anything, or ""."""
    p_value, default = final.default_p_value, final.default_test_accuracy
    if is_default:
        return "Nothing did better than the default configuration."
    if p_value is None or default is None or final.test_accuracy is None:
        return ""
    verb, points, noise = gain_over(default, final.test_accuracy, p_value)
    return (
        f"Tuning {verb} {text.percent(points)} over the default, {noise} noise "
        f"(McNemar's test, p = {text.value(p_value)})."
    )


def _by_class(
    config: RunConfig, final: FinalResult, trained: list[int] | None
) -> list[dict[str, Any]]:
    """Return recall and precision of each class on the test set, from the confusion matrix."""
    found = []
    counts: Sequence[object] = trained or [""] * len(config.dataset.classes)
    predicted = [sum(column) for column in zip(*final.confusion, strict=True)]
    for i, (name, row) in enumerate(zip(config.dataset.classes, final.confusion, strict=False)):
        found.append(
            {
                "name": name,
                "trained": counts[i],
                "rows": sum(row),
                "recall": text.percent(row[i] / sum(row)) if sum(row) else "",
                "precision": text.percent(row[i] / predicted[i]) if predicted[i] else "",
            }
        )
    return found


def _search(config: RunConfig, summary: Summary) -> list[tuple[str, str]]:
    trials = summary.trials
    return facts(
        ("Metric", config.metric),
        *search_settings(config),
        ("Trials", f"{trials.complete} complete, {trials.pruned} pruned, {trials.failed} failed"),
        ("Wall clock", text.duration(summary.seconds.total)),
        ("Device", config.device),
        ("Command", config.command),
    )
