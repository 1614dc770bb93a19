"""A tuned network as a scikit-learn classifier."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures
from sklearn.utils.estimator_checks import check_estimator

import cotune
from cotune import CotuneClassifier
from cotune.exceptions import UsageError

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


SMALL = {
    "lr": {"type": "float", "low": 3e-3, "high": 3e-2, "log": True},
    "width": 32,
    "batch_size": 32,
    "epochs": 20,
}


def quick(**parameters: Any) -> CotuneClassifier:
    """One that a fit of takes a fraction of a second."""
    few: dict[str, Any] = {"timeout": None, "n_trials": 2, "random_state": 0, "ensemble": 1}
    few |= {} if "model" in parameters else {"space": SMALL}
    return CotuneClassifier(**few | parameters)


@pytest.fixture(scope="module")
def fitted() -> CotuneClassifier:
    return quick(n_trials=6).fit(X, NAMES[Y])


@pytest.mark.slow
def test_scikit_learns_own_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant features in the checks' data
        results = check_estimator(quick(), on_skip=None)
    assert len(results) > 40
    assert [r["check_name"] for r in results if r["status"] != "passed"] in (
        [],
        ["check_array_api_input"],  # wants SCIPY_ARRAY_API set before NumPy is imported
    )


def test_it_learns_within_its_timeout():
    parts = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    X_train, X_test, y_train, y_test = parts
    model = CotuneClassifier(timeout=5, random_state=0)
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.93
    assert 0.9 < model.best_score_ <= 1.0
    assert len(model.study_.trials) >= 1


def test_what_is_fitted(fitted: CotuneClassifier):
    assert fitted.classes_.tolist() == NAMES.tolist()
    assert fitted.n_features_in_ == 4
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    assert (fitted.predict(X) == NAMES[probabilities.argmax(1)]).all()
    assert fitted.score(X, NAMES[Y]) > 0.9
    with torch.no_grad():
        logits = fitted.module_(torch.tensor(X))
    np.testing.assert_allclose(logits.double().softmax(1), probabilities)
    assert isinstance(fitted.study_, optuna.Study)
    assert len(fitted.study_.trials) == 6
    assert fitted.best_params_ in [trial.params for trial in fitted.study_.trials]
    fitted.study_.optimize(lambda trial: trial.suggest_float("z", 0, 1), n_trials=1)


def test_a_pickle_predicts_the_same(fitted: CotuneClassifier):
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()
    assert len(again.study_.trials) >= 6


def test_a_clone_is_unfitted_and_equal(fitted: CotuneClassifier):
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        other.predict(X)


def test_the_seed_decides():
    one, same = (quick(n_trials=3).fit(X, Y).predict_proba(X) for _ in range(2))
    other = quick(n_trials=3, random_state=1).fit(X, Y).predict_proba(X)
    assert (one == same).all()
    assert (one != other).any()


def test_a_random_state_object_moves_on():
    model = quick(random_state=np.random.RandomState(0))
    assert (model.fit(X, Y).predict_proba(X) != model.fit(X, Y).predict_proba(X)).any()


def test_it_writes_nothing_and_says_nothing(tmp_path: Path, monkeypatch, capfd):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    quick().fit(X, Y)
    assert list((tmp_path / "here").iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    quick(verbose=1).fit(X, Y)
    assert "120 rows to train on, 30 to validate, no test set" in capfd.readouterr().err


def test_a_run_directory_that_is_kept(tmp_path: Path):
    model = quick(out=tmp_path / "run").fit(X, Y)
    result = cotune.open_run(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    assert result.best_params == model.best_params_
    with torch.no_grad():
        kept = result.model(torch.tensor(X))
        np.testing.assert_array_equal(kept, model.module_(torch.tensor(X)))
    with pytest.raises(UsageError, match="files are there already"):
        model.fit(X, Y)


@pytest.mark.slow
def test_with_scikit_learns_tools():
    pipeline = make_pipeline(PolynomialFeatures(), quick(n_trials=3))
    assert cross_val_score(pipeline, X, Y, cv=3).min() > 0.8
    search = GridSearchCV(quick(), {"pruner": ["asha", "none"]}, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_score_ > 0.7
    assert search.predict(X).shape == (150,)


def test_the_names_of_columns():
    frame = load_wine(as_frame=True)
    model = quick().fit(frame.data, frame.target)
    assert model.feature_names_in_.tolist() == frame.feature_names
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.data.rename(columns={"ash": "ashes"}))


def test_a_frame_with_categories_and_missing_cells():
    rng = np.random.default_rng(0)
    town = rng.choice(["Ulm", "Bonn", "Jena"], 120)
    frame = pd.DataFrame(
        {"town": town, "income": rng.normal(size=120), "owner": rng.random(120) < 0.5}
    )
    frame.loc[::7, "income"] = np.nan
    labels = np.where(town == "Ulm", "yes", "no")
    model = quick(n_trials=4).fit(frame, labels)
    assert model.score(frame, labels) > 0.95
    assert model.feature_names_in_.tolist() == ["town", "income", "owner"]
    assert model.predict(pd.DataFrame({"town": ["Köln"], "income": [None], "owner": [True]})).size
    assert (pickle.loads(pickle.dumps(model)).predict(frame) == model.predict(frame)).all()
    assert clone(model).fit(frame, labels).n_features_in_ == 3
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"owner": "owns"}))
    with (
        pytest.warns(UserWarning, match="X does not have valid feature names"),
        pytest.raises(ValueError, match="X is no DataFrame; give one with the columns of the fit"),
    ):
        model.predict(frame.to_numpy())


def test_a_frame_of_numbers_with_missing_cells():
    frame = load_iris(as_frame=True)
    data = frame.data.mask(np.random.default_rng(0).random(frame.data.shape) < 0.1)
    assert quick(n_trials=6).fit(data, frame.target).score(data, frame.target) > 0.8


def test_images():
    digits = load_digits()
    model = quick(model="cnn", n_trials=1).fit(digits.images[:200], digits.target[:200])
    assert model.predict(digits.images[:5]).shape == (5,)
    assert model.predict_proba(digits.images[:5]).shape == (5, 10)


def test_worker_processes():
    model = quick(n_jobs=2, n_trials=2).fit(X, Y)
    assert model.predict(X).shape == (150,)


@pytest.mark.parametrize(
    ("parameters", "labels", "message"),
    [
        ({}, np.zeros(150), "y has one class, 0.0; a classifier needs rows of two classes"),
        ({}, np.linspace(0, 1, 150), "Unknown label type"),
        ({}, np.array([0, *[1] * 149]), "too few rows of class '0'"),
        ({"metric": "accurcy"}, Y, "metric: 'accurcy' is unknown; did you mean accuracy?"),
        ({"model": "cnn"}, Y, "a CNN needs images"),
        ({"space": {"lrr": 1}}, Y, "lrr: unknown hyperparameter; did you mean lr?"),
        ({"timeout": "long"}, Y, "timeout"),
        ({"n_trials": 0}, Y, "n_trials: 0 is not a whole number above 0"),
        ({"n_jobs": 0}, Y, "n_jobs"),
    ],
)
def test_errors(parameters, labels, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(X, labels)


def test_rows_that_are_no_numbers_are_named():
    bad = X.copy()
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        quick().fit(bad, Y)
    with pytest.raises(ValueError, match="infinity"):
        quick().fit(X, Y).predict(bad)
    images = np.random.default_rng(0).random((30, 4, 4))
    images[2, 1, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\[2, 1, 1\] is nan; fill the cell or drop row 2"):
        quick().fit(images, np.arange(30) % 2)


HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)


def test_missing_cells_of_arrays_are_those_of_frames():
    model = quick(n_trials=4).fit(HOLES, Y)
    assert model.score(HOLES, Y) > 0.8
    frame = quick(n_trials=4).fit(pd.DataFrame(HOLES), Y)
    np.testing.assert_array_equal(
        model.predict_proba(HOLES), frame.predict_proba(pd.DataFrame(HOLES))
    )
    assert (pickle.loads(pickle.dumps(model)).predict(HOLES) == model.predict(HOLES)).all()
    objects = HOLES.astype(object)
    objects[np.isnan(HOLES)] = None
    np.testing.assert_array_equal(model.predict_proba(objects), model.predict_proba(HOLES))


def test_a_cell_that_is_missing_for_the_first_time_is_its_mean(fitted: CotuneClassifier):
    holes, filled = X.copy(), X.copy()
    holes[::7, 2], filled[::7, 2] = np.nan, fitted.module_.preprocessing.mean[2]  # type: ignore[union-attr,index]
    np.testing.assert_array_equal(fitted.predict_proba(holes), fitted.predict_proba(filled))
    frame = pd.DataFrame(holes)
    np.testing.assert_array_equal(fitted.predict_proba(frame), fitted.predict_proba(filled))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame((X * 10).round().astype(int)).astype("Int64").mask(np.isnan(HOLES)),
        pd.DataFrame(HOLES).convert_dtypes(),
        pd.DataFrame(X > 2).astype("boolean").mask(np.isnan(HOLES)),
    ],
)
def test_frames_of_nullable_types(frame):
    frame.columns = list("abcd")
    model = quick(n_trials=3).fit(frame, Y)
    assert model.score(frame, Y) > 0.6
    assert model.feature_names_in_.tolist() == list("abcd")


TEXTS = [f"{'good' if i % 2 else 'bad'} film {i % 7} seen {i % 5} times" for i in range(120)]


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array"])
def test_sparse_texts(kind):
    tfidf = TfidfVectorizer(token_pattern=r"\w+").fit_transform(TEXTS)
    words, labels = getattr(scipy.sparse, kind)(tfidf), np.arange(120) % 2
    model = quick(n_trials=2).fit(words, labels)
    assert model.score(words, labels) == 1.0
    dense = quick(n_trials=2).fit(tfidf.toarray(), labels)
    np.testing.assert_array_equal(model.predict_proba(words), dense.predict_proba(tfidf.toarray()))


def test_one_hot_columns_of_a_pipeline_and_a_sparse_frame():
    towns = np.random.default_rng(0).choice(["Ulm", "Bonn", "Jena"], (120, 1))
    labels = (towns[:, 0] == "Ulm").astype(int)
    assert make_pipeline(OneHotEncoder(), quick()).fit(towns, labels).score(towns, labels) == 1.0
    frame = pd.DataFrame.sparse.from_spmatrix(
        OneHotEncoder().fit_transform(towns), columns=list("abc")
    )
    model = quick().fit(frame, labels)
    assert model.score(frame, labels) == 1.0
    assert model.feature_names_in_.tolist() == list("abc")


def test_a_sparse_matrix_that_is_too_large():
    large = scipy.sparse.coo_matrix(([1.0], ([0], [0])), (1_000_000, 50_000_000))
    with pytest.raises(ValueError, match=r"X are sparse, 1,000,000 x 50,000,000: dense they take"):
        quick().fit(large, np.arange(1_000_000) % 2)


def test_masked_cells_are_missing():
    masked = np.ma.masked_array(np.where(np.isnan(HOLES), -999, X), np.isnan(HOLES))
    model, same = quick().fit(masked, Y), quick().fit(HOLES, Y)
    np.testing.assert_array_equal(model.predict_proba(masked), same.predict_proba(HOLES))
    with pytest.raises(ValueError, match="y contains NaN"):
        quick().fit(X, np.ma.masked_array(Y, Y == 2))


@pytest.mark.parametrize("rows", [HOLES, X])
def test_a_sparse_frame_that_omits_missing_cells(rows):
    frame = pd.DataFrame(rows, columns=list("abcd"))
    sparse = frame.astype(pd.SparseDtype("float", np.nan))
    model = quick().fit(sparse, Y)
    np.testing.assert_array_equal(model.predict_proba(sparse), model.predict_proba(frame))


def test_images_with_their_channels_first():
    rng = np.random.default_rng(0)
    images = rng.random((80, 3, 8, 8), np.float32)
    labels = np.arange(80) % 2
    images[labels == 1, 0] += 1.0
    model = quick(model="cnn", n_trials=1).fit(images, labels)
    assert model.module_.preprocessing.input_shape == (8, 8, 3)
    assert model.score(images, labels) == 1.0


class Wide(torch.nn.Module):
    """A network of one's own, for the space of its argument."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 3)
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(rows)
        return logits


def build(trial: Any) -> Wide:
    return Wide(trial.suggest_int("width", 8, 32))


@pytest.mark.parametrize(
    ("model", "ensemble", "space"),
    [(build, 2, None), (Wide, 1, {"width": {"type": "int", "low": 8, "high": 32}})],
)
def test_a_network_of_ones_own(model, ensemble, space):
    fitted = clone(quick(model=model, ensemble=ensemble, space=space)).fit(X, NAMES[Y])
    assert 8 <= int(fitted.best_params_["width"]) <= 32
    assert any(isinstance(one, Wide) for one in fitted.module_.modules())
    assert fitted.score(X, NAMES[Y]) > 0.6
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_model_is_not_ignored_beside_a_space():
    with pytest.raises(ValueError, match="model: give a model or a space, not both"):
        quick(model="cnn", space=SMALL).fit(X, Y)


def test_large_offsets_are_predicted_as_they_were_trained():
    """Dates in seconds: a float32 holds them to two minutes."""
    rng = np.random.default_rng(0)
    rows = 1.7e9 + rng.normal(size=(300, 2)) * 10
    labels = (rows[:, 0] > rows[:, 1]).astype(int)
    fitted = quick(n_trials=3).fit(rows, labels)
    assert fitted.score(rows, labels) > 0.95
    np.testing.assert_array_equal(fitted.predict(rows[::-1]), fitted.predict(rows)[::-1])
