"""Scores over classes, beside scikit-learn's, and what they differ by through chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
)

from cotune.metrics import balanced_accuracy, macro_auc, macro_f1, scores_of
from cotune.standard_error import standard_error

RANDOM = np.random.default_rng(8)


def drawn(rows: int, classes: int, lanes: int = 3, absent: int | None = None, digits: int = 16):
    """Labels of unequal frequencies, and probabilities that know something of them."""
    shares = np.arange(1, classes + 1) ** 2.0
    labels = RANDOM.choice(classes, rows, p=shares / shares.sum())
    labels[:classes] = np.arange(classes)
    if absent is not None:
        labels[labels == absent] = (absent + 1) % classes
    logits = RANDOM.normal(size=(rows, lanes, classes))
    logits += 1.5 * np.eye(classes)[labels][:, None]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return labels, probabilities.round(digits)


CASES = pytest.mark.parametrize(
    ("classes", "absent", "digits"),
    [(2, None, 16), (2, None, 1), (5, None, 16), (5, 2, 16), (7, 6, 1), (3, None, 2)],
)


@CASES
def test_auc_is_scikit_learns(classes, absent, digits):
    """Rounded probabilities have ties."""
    labels, probabilities = drawn(300, classes, absent=absent, digits=digits)
    ours = macro_auc(torch.from_numpy(probabilities), torch.from_numpy(labels))
    for lane, area in enumerate(ours.tolist()):
        own = probabilities[:, lane]
        if classes == 2:
            expected = roc_auc_score(labels, own[:, 1])
        elif absent is None and digits == 16:
            expected = roc_auc_score(labels, own, multi_class="ovr", average="macro")
        else:
            each = [roc_auc_score(labels == c, own[:, c]) for c in np.unique(labels)]
            expected = np.mean(each)
        assert area == pytest.approx(expected, rel=1e-12)
        assert 0.6 < area < 0.98


def test_auc_of_one_class_is_chance():
    probabilities = torch.rand(5, 2, 3, dtype=torch.float64)
    assert macro_auc(probabilities, torch.zeros(5, dtype=torch.int64)).tolist() == [0.5, 0.5]


@CASES
def test_recalls_and_f1_are_scikit_learns(classes, absent, digits):
    labels, probabilities = drawn(200, classes, absent=absent, digits=digits)
    guesses = probabilities.argmax(-1)
    confusion = torch.from_numpy(
        np.stack([confusion_matrix(labels, own, labels=range(classes)) for own in guesses.T])
    )
    for i, own in enumerate(guesses.T):
        recall = recall_score(labels, own, labels=np.unique(labels), average="macro")
        f1 = f1_score(labels, own, average="macro", zero_division=0.0)
        assert float(balanced_accuracy(confusion)[i]) == pytest.approx(recall, rel=1e-12)
        assert float(macro_f1(confusion)[i]) == pytest.approx(f1, rel=1e-12)


@CASES
def test_one_models_scores_are_scikit_learns(classes, absent, digits):
    """Also where a class neither occurs nor is predicted, and from logits that are very sure."""
    labels, probabilities = drawn(200, classes, absent=absent)
    own = probabilities[:, 0]
    if absent is not None:
        own[:, absent] = 1e-30
    own /= own.sum(1, keepdims=True)
    guess = own.argmax(1)
    ours = scores_of(torch.from_numpy(np.log(own)), torch.from_numpy(labels))
    areas = [roc_auc_score(labels == c, own[:, c]) for c in np.unique(labels)]
    assert ours == pytest.approx(
        {
            "accuracy": accuracy_score(labels, guess),
            "balanced-accuracy": recall_score(
                labels, guess, labels=np.unique(labels), average="macro"
            ),
            "f1": f1_score(labels, guess, average="macro", zero_division=0.0),
            "auc": np.mean(areas),
            "loss": log_loss(labels, own, labels=range(classes)),
        }
    )


def test_one_class_has_no_auc():
    ours = scores_of(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1]))
    assert set(ours) == {"accuracy", "balanced-accuracy", "f1", "loss"}
    assert ours["accuracy"] == ours["balanced-accuracy"] == 0.5


class TestNoise:
    def test_of_an_accuracy(self):
        assert standard_error("accuracy", 0.9, [50, 50]) == pytest.approx(0.03)
        assert standard_error("balanced-accuracy", 0.9, [50, 50]) == pytest.approx(0.03)

    def test_of_a_balanced_accuracy(self):
        """Of 90 and 10 rows, each right with a chance of 0.8."""
        recalls = [RANDOM.binomial(rows, 0.8, 20_000) / rows for rows in (90, 10)]
        expected = np.std(np.mean(recalls, 0))
        ours = standard_error("balanced-accuracy", 0.8, [90, 10, 0])
        assert ours == pytest.approx(expected, rel=0.05)

    def test_of_an_auc(self):
        """The example of Hanley and McNeil (1982): 51 and 58 rows, 0.893."""
        assert standard_error("auc", 0.893, [51, 58]) == pytest.approx(0.032, abs=0.001)
        several = standard_error("auc", 0.9, [40, 40, 40])
        assert 0.0 < several < standard_error("auc", 0.9, [40, 80])
        assert standard_error("auc", 1.0, [3, 4]) == pytest.approx(0.0)

    def test_of_a_loss_nothing_is_known(self):
        assert standard_error("loss", 0.3, [10, 10]) == 0.0
