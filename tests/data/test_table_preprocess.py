from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cotune.data import TablePreprocessing, prepare
from cotune.data.dataset import Column, Dataset
from cotune.data.preprocessing.card import preprocessing_from_json
from cotune.data.tables.tables import read_table
from cotune.engine.networks import MLP, MLPArchitecture
from cotune.exceptions import DataError, ModelFileError
from cotune.inference.model_file import Classifier, load_model, save_model
from cotune.inference.preprocessing_module import TableFeatures
from tests.support.tables import mixed_table

NAN = math.nan
ALL = np.arange(8)
COLUMNS = (
    Column("age", "number"),
    Column("kind", "category", ("a", "b", "c", "d")),
    Column("member", "boolean"),
)
CELLS = np.array(
    [
        [1.0, 0, 1],
        [2.0, 0, 0],
        [3.0, 1, 1],
        [4.0, 1, 1],
        [5.0, 2, NAN],
        [NAN, NAN, 1],
        [7.0, 0, 0],
        [1e9, 1, 1],
    ]
)
FITTED = TablePreprocessing.fit(CELLS, ALL, COLUMNS)


def by_hand(column: Column, training: list[float], cell: float) -> list[float]:
    """The features of one cell as the docstring says it, cell by cell: number, missing, rest."""
    seen = [value for value in training if value == value]
    some_missing = len(seen) < len(training)
    if column.kind == "category":
        counts = Counter(seen)
        ranked = sorted(counts, key=lambda code: (-counts[code], code))[:254]
        kept = sorted(code for code in ranked if counts[code] > 1)
        slots: list[object] = [*kept, *(["other"] if len(kept) < len(counts) else [])]
        slots += ["missing"] if some_missing else []
        if len(slots) < 2:
            return []
        found = "missing" if cell != cell else cell if cell in kept else "other"
        return [float(slot == found) for slot in slots]
    features = []
    if len(set(seen)) > 1:
        low, first, median, third, high = np.percentile(seen, [0, 25, 50, 75, 100])
        spread = third - first or (high - low) / 2
        z = 0.0 if cell != cell else (cell - median) / spread
        z = max(-1000.0, min(1000.0, z))
        features.append(z / math.sqrt(1 + (z / 3) ** 2))
    return features + ([float(cell != cell)] if some_missing and seen else [])


@st.composite
def tables(draw):
    """Columns, cells ``[rows, columns]``, and a part of the rows to fit on."""
    n_rows = draw(st.integers(3, 12))
    columns, cells = [], []
    for place in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["number", "boolean", "category"]))
        n_codes = draw(st.integers(1, 5)) if kind == "category" else 2
        value: st.SearchStrategy[float] = st.integers(0, n_codes - 1).map(float)
        if kind == "number":
            # a spread of subnormal numbers is as good as none, and not what this is about
            some = st.floats(-1e9, 1e9).map(lambda x: 0.0 if abs(x) < 1e-200 else x)
            value = some | st.integers(-3, 3).map(float) | st.floats(1e12, 1.001e12)
        texts = tuple(f"text {i}" for i in range(n_codes)) if kind == "category" else ()
        columns.append(Column(f"column {place}", kind, texts))
        cells.append(draw(st.lists(value | st.just(NAN), min_size=n_rows, max_size=n_rows)))
    rows = draw(st.lists(st.integers(0, n_rows - 1), min_size=2, max_size=n_rows, unique=True))
    return tuple(columns), np.array(cells).T, np.array(sorted(rows))


@settings(max_examples=150, deadline=None)
@given(table=tables())
def test_against_the_definition_and_as_a_module(table):
    columns, cells, rows = table
    expected = []
    for row in cells:
        scaled: list[float] = []
        missing: list[float] = []
        coded: list[float] = []
        for place, column in enumerate(columns):
            training = cells[rows, place]
            part = by_hand(column, list(training), row[place])
            n_scaled = (
                0
                if column.kind == "category"
                else len(np.unique(training[~np.isnan(training)])) > 1
            )
            scaled += part[:n_scaled]
            (coded if column.kind == "category" else missing).extend(part[n_scaled:])
        expected.append([*scaled, *missing, *coded])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant columns
        if not expected[0]:
            with pytest.raises(DataError, match="no column has two values in the training part"):
                TablePreprocessing.fit(cells, rows, columns)
            return
        fitted = TablePreprocessing.fit(cells, rows, columns)
    out = fitted.apply(cells)
    assert out.dtype == np.float32
    assert out.shape == (len(cells), *fitted.input_shape)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    module = TableFeatures(fitted)
    np.testing.assert_allclose(module(torch.from_numpy(cells)), out, rtol=1e-6, atol=1e-7)
    assert preprocessing_from_json(fitted.to_json()) == fitted


def test_the_features():
    z = (np.array([1.0, 2, 3, 4, 5, 4, 7, 1e9]) - 4.0) / 3.5  # median and interquartile range
    z[-1] = 1000.0
    expected = z / np.sqrt(1 + (z / 3) ** 2)
    out = FITTED.apply(CELLS)
    np.testing.assert_allclose(out[:, 0], expected, rtol=1e-6)
    assert out[5, 0] == 0.0  # missing
    assert 2.99 < out[7, 0] < 3.0  # far away
    np.testing.assert_array_equal(out[:, 2], np.isnan(CELLS[:, 0]))
    np.testing.assert_array_equal(out[:, 3], np.isnan(CELLS[:, 2]))
    kinds = ["a", "a", "b", "b", "other", "missing", "a", "b"]
    slots = np.array(["a", "b", "other", "missing"])
    np.testing.assert_array_equal(slots[out[:, 4:].argmax(1)], kinds)
    assert (out[:, 4:].sum(1) == 1).all()
    assert FITTED.features == out.shape[1] == 8


def test_a_category_that_was_not_there_in_training():
    columns, cells = COLUMNS[1:2], np.array([[0.0], [0], [1], [1]])
    fitted = TablePreprocessing.fit(cells, np.arange(4), columns)
    out = fitted.apply(np.array([[0.0], [1], [2], [3], [NAN]]))
    np.testing.assert_array_equal(out, [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
    module = TableFeatures(fitted)
    odd = torch.tensor([[99.0], [-1.0], [math.inf], [1.0]], dtype=torch.float64)
    np.testing.assert_array_equal(module(odd), [[0, 0], [0, 0], [0, 0], [0, 1]])


def test_an_unknown_category_is_as_one_that_training_did_not_have():
    """COLUMNS know d, and no row of CELLS has it; beside it stands a feature for missing cells."""
    row = np.array([1.0, NAN, 1.0])
    known, unknown, missing = (np.where([0, 1, 0], code, row) for code in (3.0, -1.0, NAN))
    rows = np.array([known, unknown, missing])
    out = FITTED.apply(rows)
    np.testing.assert_array_equal(out[:, 4:], [[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(TableFeatures(FITTED)(torch.from_numpy(rows)), out, rtol=1e-6)


def test_the_254_most_frequent_categories_have_their_own_feature():
    codes = np.repeat(np.arange(300.0), 2 + np.arange(300) % 2)
    columns = (Column("code", "category", tuple(f"{i:03}" for i in range(300))),)
    fitted = TablePreprocessing.fit(codes[:, None], np.arange(len(codes)), columns)
    assert fitted.features == 255
    (part,) = fitted.parts
    assert set(range(1, 300, 2)) < set(part.kept)  # type: ignore[union-attr]
    others = sorted(set(range(300)) - set(part.kept))  # type: ignore[union-attr]
    out = fitted.apply(np.array([[float(code)] for code in others]))
    assert (out[:, 254] == 1).all()
    assert out.sum() == len(others) == 46


def test_rows_outside_the_training_part_do_not_matter():
    changed = CELLS.copy()
    changed[1::2] = [-5e8, 3, NAN]
    rows = ALL[::2]
    fitted = TablePreprocessing.fit(CELLS, rows, COLUMNS)
    assert TablePreprocessing.fit(changed, rows, COLUMNS) == fitted
    np.testing.assert_array_equal(fitted.apply(CELLS, rows), fitted.apply(CELLS)[rows])


def test_columns_with_a_single_value_are_left_out():
    cells = np.column_stack((CELLS, np.full((8, 3), [7.0, 2.0, NAN])))
    cells[5, 5] = 3.0
    columns = (
        *COLUMNS,
        Column("constant", "number"),
        Column("same", "category", ("x", "y", "z")),
        Column("empty", "number"),
    )
    rows = np.array([0, 1, 2, 3, 4, 6, 7])
    message = r"^columns 'constant', 'same', 'empty' have a single value in the training part"
    with pytest.warns(UserWarning, match=message):
        fitted = TablePreprocessing.fit(cells, rows, columns)
    three = TablePreprocessing.fit(CELLS, rows, COLUMNS)
    assert fitted.features == three.features
    cells[0, 3:] = [1e300, 0, 5]
    np.testing.assert_array_equal(fitted.apply(cells), three.apply(CELLS))


def test_large_numbers_keep_their_precision():
    ids = 1_700_000_000_000 + np.arange(9.0)
    fitted = TablePreprocessing.fit(ids[:, None], np.arange(9), (Column("time", "number"),))
    z = (np.arange(9.0) - 4) / 4
    expected = z / np.sqrt(1 + (z / 3) ** 2)
    np.testing.assert_allclose(fitted.apply(ids[:, None])[:, 0], expected, rtol=1e-6)
    module = TableFeatures(fitted)(torch.from_numpy(ids[:, None]))
    np.testing.assert_allclose(module[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((3, 2)), r"rows have shape \(2,\), the model was trained on \(3,\); give rows"),
        (np.ones(3), r"rows have shape \(\), the model"),
        (np.full((3, 3), "x"), "the inputs are of type <U1"),
        (np.array([[1, 0, 1], [1, 0, np.inf]]), r"row 1 \(counted from 0\), column 'member': infi"),
    ],
)
def test_apply_refuses(inputs, message):
    with pytest.raises(DataError, match=message):
        FITTED.apply(inputs)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.ones((0, 1)), "no rows to measure the columns by"),
        (np.ones((4, 1)), "no column has two values in the training part"),
        (np.array([[-1.7e308], [1.7e308]]), "column 'x': values too large or not finite"),
        (np.array([[np.inf], [1.0]]), "column 'x': values too large or not finite"),
    ],
)
def test_fit_refuses(cells, message):
    with pytest.raises(DataError, match=message):
        TablePreprocessing.fit(cells, np.arange(len(cells)), (Column("x", "number"),))


GOOD = FITTED.to_json()
COLUMN, PART = GOOD["columns"][1], GOOD["parts"][1]
NUMBER = GOOD["parts"][0]
NO_OBJECT: Any = []


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        GOOD | {"more": 1},
        GOOD | {"kind": "tables"},
        GOOD | {"columns": []},
        GOOD | {"parts": "x"},
        {"kind": "table", "columns": [], "parts": []},
        *(
            GOOD | {"columns": [GOOD["columns"][0], column, GOOD["columns"][2]]}
            for column in (
                NO_OBJECT,
                COLUMN | {"more": 1},
                COLUMN | {"name": 3},
                COLUMN | {"name": "age"},
                COLUMN | {"kind": "text"},
                COLUMN | {"kind": "number"},
                COLUMN | {"kind": ["category"]},
                COLUMN | {"categories": []},
                COLUMN | {"categories": ["a", "a", "b", "c"]},
                COLUMN | {"categories": ["a", 1, "b", "c"]},
                COLUMN | {"categories": ["a"]},
            )
        ),
        *(
            GOOD | {"parts": [GOOD["parts"][0], part, GOOD["parts"][2]]}
            for part in (
                NO_OBJECT,
                NUMBER,
                PART | {"more": 1},
                PART | {"other": 1},
                PART | {"missing": None},
                PART | {"kept": "ab"},
                PART | {"kept": [0, 0]},
                PART | {"kept": [4]},
                PART | {"kept": [-1]},
                PART | {"kept": [True]},
            )
        ),
        *(
            GOOD | {"parts": [part, *GOOD["parts"][1:]]}
            for part in (
                PART,
                NUMBER | {"center": NAN},
                NUMBER | {"center": "1"},
                NUMBER | {"scale": -1.0},
                NUMBER | {"scale": math.inf},
                NUMBER | {"scale": 10**400},
                NUMBER | {"scale": True},
                NUMBER | {"missing": 1},
            )
        ),
    ],
)
def test_json_refused(data):
    with pytest.raises(ModelFileError, match=r"^preprocessing.*; (export the model again|a newer)"):
        preprocessing_from_json(data)


SCALARS = st.none() | st.booleans() | st.integers(-2, 5) | st.just(10**400) | st.floats()
NESTED = st.recursive(
    SCALARS | st.sampled_from(["a", "age", "number", "category", "table"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_json_is_a_preprocessing_that_works_or_a_model_file_error(data):
    card = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 2))):
        target: Any = card
        while True:
            key = data.draw(
                st.sampled_from([*target] if isinstance(target, dict) else range(len(target)))
            )
            if (
                not isinstance(target[key], dict | list)
                or not target[key]
                or data.draw(st.booleans())
            ):
                break
            target = target[key]
        target[key] = data.draw(NESTED)
    try:
        made = preprocessing_from_json(card)
    except ModelFileError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert isinstance(made, TablePreprocessing)
    out = made.apply(CELLS)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(TableFeatures(made)(torch.from_numpy(CELLS)), out, rtol=1e-5)


@pytest.fixture(scope="module")
def table() -> Dataset:
    return read_table(mixed_table())


@pytest.fixture(scope="module")
def model(table) -> Classifier:
    with pytest.warns(UserWarning, match="columns 'country', 'volume' have a single value"):
        training, preprocessing = prepare(table, seed=0)
    torch.manual_seed(0)
    network = MLP(MLPArchitecture(training.input_shape[0], (5,), True, 3), [0.1])
    return Classifier(network, preprocessing, table.classes).eval()


class TestAsAModel:
    def test_it_takes_cells(self, table, model):
        assert isinstance(model.preprocessing, TablePreprocessing)
        rows = torch.from_numpy(table.inputs)
        expected = model.network(torch.from_numpy(model.preprocessing.apply(table.inputs)))
        torch.testing.assert_close(model(rows), expected)

    def test_it_is_saved_and_loaded(self, table, model, tmp_path):
        save_model(tmp_path, model, {}, "1")
        again = load_model(tmp_path)
        rows = torch.from_numpy(table.inputs)
        assert torch.equal(again(rows), model(rows))
        assert again.preprocessing == model.preprocessing

    def test_it_is_exported(self, table, model):
        rows = torch.from_numpy(table.inputs)
        batch = {0: torch.export.Dim("batch", min=1)}
        exported = torch.export.export(model, (rows[:5],), dynamic_shapes=(batch,))
        torch.testing.assert_close(exported.module()(rows), model(rows))

    @pytest.mark.filterwarnings("ignore")  # of the exporter's own ways
    def test_it_runs_in_onnxruntime(self, table, model, tmp_path):
        rows = torch.from_numpy(table.inputs)
        program = torch.onnx.export(
            model,
            (rows[:5],),
            dynamo=True,
            verbose=False,
            input_names=["rows"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        assert program is not None
        program.save(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        (logits,) = session.run(None, {"rows": table.inputs})
        np.testing.assert_allclose(logits, model(rows).detach(), rtol=1e-4, atol=1e-5)
