"""Data of every kind becomes a dataset, the same data the same dataset."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_wine
from torch.utils.data import TensorDataset

from cotune.data import Dataset, Standardize, TablePreprocessing, load, prepare
from cotune.data.builtin.fashion_mnist import read_split
from cotune.data.known_rows import splits_of_rows
from cotune.data.reading import check_path, read_data, read_inputs
from cotune.exceptions import DataError, UsageError
from tests.support.formats import digits, write_all, write_idx, write_pngs

IMAGES, LABELS = digits()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("digits"), IMAGES, LABELS)


@pytest.fixture(scope="module")
def expected() -> Dataset:
    return read_data((IMAGES, LABELS))


class Items:
    """A map-style dataset, as torchvision's."""

    classes = tuple("zero" + "-" * i for i in range(10))

    def __init__(self, as_image: bool) -> None:
        self._as_image = as_image

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, i: int) -> tuple[object, int]:
        image = Image.fromarray(IMAGES[i]) if self._as_image else torch.from_numpy(IMAGES[i])[None]
        return image, int(LABELS[i])


class TestTheSameData:
    @pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "npy", "idx", "png"])
    def test_in_files(self, kind, paths, expected):
        dataset = read_data(str(paths[kind]))
        assert dataset.fingerprint == expected.fingerprint
        assert dataset.classes == tuple("0123456789")
        assert dataset.inputs.dtype == np.uint8
        np.testing.assert_array_equal(dataset.read_test()[0], expected.read_test()[0])
        ours, _ = prepare(dataset, seed=1)
        theirs, _ = prepare(expected, seed=1)
        np.testing.assert_array_equal(ours.inputs, theirs.inputs)
        np.testing.assert_array_equal(ours.fold_of, theirs.fold_of)

    def test_pictures_of_clothes(self, fashion_mnist_dir, tmp_path):
        images, labels = read_split(fashion_mnist_dir, "t10k")
        paths = write_all(tmp_path, images[:300], labels[:300])
        assert len({read_data(path).fingerprint for path in paths.values()}) == 1

    def test_in_objects(self, expected):
        images, labels = torch.from_numpy(IMAGES), torch.from_numpy(LABELS)
        for data in (
            (IMAGES[::-1], LABELS[::-1]),
            (IMAGES[..., None], LABELS.astype(str)),
            (IMAGES, LABELS.tolist()),
            (images, labels),
            (images[:, None], labels[:, None]),
            TensorDataset(images, labels),
            list(zip(IMAGES, LABELS, strict=True)),
        ):
            assert read_data(data).fingerprint == expected.fingerprint

    @pytest.mark.parametrize("as_image", [False, True])
    def test_in_a_dataset_of_pytorch(self, as_image, expected):
        dataset = read_data(Items(as_image))
        assert dataset.classes == Items.classes
        assert sorted(map(bytes, dataset.inputs)) != sorted(map(bytes, IMAGES))  # a fifth is sealed
        assert dataset.inputs.shape == expected.inputs.shape

    def test_places_in_the_file(self, paths):
        dataset = read_data(paths["npy"])
        rows = np.load(paths["npy"])
        np.testing.assert_array_equal(dataset.inputs, rows[dataset.rows])
        np.testing.assert_array_equal(dataset.read_test()[0], rows[dataset.test_rows])
        training, _ = prepare(dataset, seed=0)
        parts = splits_of_rows(dataset, training)
        assert [place for place, _ in parts] == list(range(600))
        names = [part for _, part in parts]
        assert names.count("train") == training.n_train
        assert names.count("test") == dataset.n_test == 120
        assert names.count("validation") == 600 - 120 - training.n_train
        assert splits_of_rows(load("digits"), training) == []


class TestTestSets:
    def test_in_the_same_file(self, tmp_path):
        np.savez(
            tmp_path / "mnist.npz",
            x_train=IMAGES[:500],
            y_train=LABELS[:500],
            x_test=IMAGES[500:],
            y_test=LABELS[500:],
        )
        dataset = read_data(tmp_path / "mnist.npz")
        assert (len(dataset), dataset.n_test) == (500, 100)
        np.testing.assert_array_equal(dataset.read_test()[0], IMAGES[500:])
        assert dataset.name == "mnist"
        training, _ = prepare(dataset, seed=0)
        assert {part for _, part in splits_of_rows(dataset, training)} == {"train", "validation"}

    def test_in_a_folder_as_mnist_has_them(self, tmp_path):
        write_idx(tmp_path, "train", IMAGES[:500], LABELS[:500])
        write_idx(tmp_path, "t10k", IMAGES[500:], LABELS[500:])
        assert read_data(tmp_path).n_test == 100
        assert read_data(tmp_path / "train-images-idx3-ubyte").n_test == 100  # a fifth of these
        assert len(read_data(tmp_path / "t10k-images-idx3-ubyte")) == 80

    @pytest.mark.parametrize("kind", ["csv", "npz", "idx", "png"])
    def test_in_another_file(self, kind, tmp_path):
        for part, rows in (("a", slice(500)), ("b", slice(500, None))):
            (tmp_path / part).mkdir()
            write_all(tmp_path / part, IMAGES[rows], LABELS[rows])
        name = kind if kind in ("idx", "png") else f"digits.{kind}"
        dataset = read_data(tmp_path / "a" / name, test=str(tmp_path / "b" / name))
        assert (len(dataset), dataset.n_test) == (500, 100)
        assert dataset.source is not None
        assert dataset.source.path == str(tmp_path / "a" / name)
        assert dataset.source.test == str(tmp_path / "b" / name)

    def test_a_frame_and_its_labels(self):
        frame, labels = load_wine(return_X_y=True, as_frame=True)
        test = np.arange(178) % 4 == 0
        whole = read_data((frame, labels))
        assert [column.name for column in whole.columns] == list(frame.columns)
        joined = frame.assign(kind=labels)
        assert whole.fingerprint == read_data(joined, target="kind").fingerprint
        kept = frame[~test], labels[~test].astype(str)
        apart = read_data(kept, test=(frame[test], labels[test].tolist()))
        assert apart.n_test == 45
        with pytest.raises(DataError, match=r"^table: 178 rows but 3 labels; give one label a row"):
            read_data((frame, labels[:3]))

    def test_objects(self):
        pair = (IMAGES[500:], LABELS[500:].astype(str))
        dataset = read_data((IMAGES[:500], LABELS[:500]), test=pair)
        np.testing.assert_array_equal(dataset.read_test()[1], LABELS[500:])
        assert dataset.source is None

    def test_a_frame_and_its_labels_called_otherwise(self):
        """The labels of the test set are those of the training set, whatever they are called."""
        frame, labels = load_wine(return_X_y=True, as_frame=True)
        pair = (frame[100:], labels[100:].to_numpy())
        for dataset in (
            read_data((frame, labels.rename("cultivar")), test=pair),
            read_data(frame.assign(label=labels), target="label", test=pair),
        ):
            assert dataset.n_test == 78
            assert "78 of 78 test rows are also in the training data" in dataset.remarks

    def test_other_classes(self):
        """Each set's indices are into its own classes."""
        other = Items(as_image=False)
        other.classes = Items.classes[::-1]
        dataset = read_data(Items(as_image=False), test=other)
        np.testing.assert_array_equal(dataset.read_test()[1], 9 - LABELS)
        plain = read_data(Items(as_image=False), test=(IMAGES, LABELS))
        np.testing.assert_array_equal(plain.read_test()[1], LABELS)
        _, labels, _ = read_inputs(other, Standardize(0.0, 1.0, (8, 8)))
        assert labels is not None
        assert labels.tolist() == [other.classes[label] for label in LABELS]
        other.classes = ("others", *Items.classes[1:])
        with pytest.raises(DataError, match=r"test labels\[\d+\] is 'others', which is no class"):
            read_data(Items(as_image=False), test=other)
        other.classes = Items.classes[:9]
        with pytest.raises(DataError, match=r"is 9, but there are 9 classes, counted from 0"):
            read_data(other)

    @pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
    def test_rows_that_are_in_the_training_data_too(self, kind, tmp_path):
        copies = np.repeat(IMAGES[:80], 3, 0), np.repeat(LABELS[:80], 3)
        write_all(tmp_path, *copies)
        path = tmp_path / f"digits.{kind}"
        remark = read_data(path).remarks[-1]
        found = re.fullmatch(r"(\d+) of 48 test rows are also in the training data", remark)
        assert found is not None
        assert int(found[1]) > 40
        (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
        with pytest.raises(DataError, match=f"{kind}: is the training data itself; give other"):
            read_data(path, test=tmp_path / "link" / path.name)

    def test_rows_that_are_new(self, expected):
        assert expected.remarks == ()

    def test_of_another_shape(self):
        with pytest.raises(DataError, match=r"test rows have shape \(4, 8\), the others \(8, 8\)"):
            read_data((IMAGES, LABELS), test=(IMAGES[:, :4], LABELS))

    def test_some_of_the_classes(self, tmp_path):
        """Folders of names: those of the test set alone would be whole numbers."""
        for part, names in (("train", ("1", "two")), ("test", ("1",))):
            for name in names:
                write_pngs(tmp_path / part / "x", IMAGES[:4], np.zeros(4, int))
                (tmp_path / part / "x" / "0").rename(tmp_path / part / name)
                (tmp_path / part / "x").rmdir()
        dataset = read_data(tmp_path)
        assert dataset.classes == ("1", "two")
        assert dataset.read_test()[1].tolist() == [0] * 4


class TestWhatIsNot:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("model.pkl", "is a pickle or may be one, which can run code when it is opened"),
            ("model.joblib", "is a pickle or may be one"),
            ("data.pt", "is a pickle or may be one"),
            ("data.zip", "is an archive; unpack it and give the file or folder in it"),
            ("data.xlsx", "is a spreadsheet; save its sheet as CSV"),
            ("data.json", "is of a format that is not read; save it as CSV, Parquet or NPZ"),
            ("data", "is of no known format; give CSV, TSV, Parquet, NPZ, NPY, IDX or a folder"),
            ("cat.png", "is a single image; give a folder with a folder per class"),
        ],
    )
    def test_files(self, name, message, tmp_path):
        path = tmp_path / name
        path.write_bytes(b"\x80\x04.")
        with pytest.raises(DataError, match=f"^{path}: {message}"):
            read_data(path)
        if name != "cat.png":
            with pytest.raises(DataError, match=f"^{path}: {message}"):
                check_path(str(path))

    def test_names(self, tmp_path):
        with pytest.raises(DataError, match=r"no dataset or file 'digit'; did you mean digits\?"):
            read_data("digit")
        with pytest.raises(DataError, match=r"gone: no such file or folder; check the path"):
            read_data(tmp_path / "gone")

    def test_options_of_what_needs_none(self, paths):
        for source in ("digits", load("digits")):
            with pytest.raises(UsageError, match=r"^target: digits comes with its own; leave it"):
                read_data(source, target="label")
        with pytest.raises(UsageError, match=r"^target: .*png is no table, and its labels are kno"):
            read_data(paths["png"], target="label")
        with pytest.raises(UsageError, match=r"^test: give a table as the training data are"):
            read_data(paths["csv"], test=paths["png"])

    def test_what_it_is_called(self, tmp_path):
        np.savez(tmp_path / "my.data.npz", X=IMAGES, y=LABELS)
        assert read_data(tmp_path / "my.data.npz").name == "my.data"
        write_idx(tmp_path / "idx", "train", IMAGES, LABELS)
        assert read_data(tmp_path / "idx" / "train-images-idx3-ubyte").name == "train-images-idx3"


class TestNewData:
    """Rows for a model, with or without labels."""

    IMAGES = Standardize(0.0, 1.0, (8, 8))
    ROWS = Standardize((0.0, 0.0), (1.0, 1.0), (2,))

    @pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "npy", "idx", "png"])
    def test_files(self, kind, paths):
        target = "label" if kind in ("csv", "parquet") else None
        inputs, labels, names = read_inputs(paths[kind], self.IMAGES, target=target)
        assert inputs.shape == (600, 8, 8)
        assert labels is not None
        assert labels.dtype == np.int64
        assert np.bincount(labels).tolist() == np.bincount(LABELS).tolist()
        assert (names is not None) == (kind == "png")
        if names is not None:
            assert [int(Path(name).parent.name) for name in names] == labels.tolist()

    def test_without_labels(self, tmp_path):
        folder = tmp_path / "new"
        write_pngs(folder, IMAGES[:3], np.zeros(3, int))
        inputs, labels, names = read_inputs(folder / "0", self.IMAGES)
        np.testing.assert_array_equal(inputs, IMAGES[:3])
        assert labels is None
        assert names == ["0.png", "1.png", "2.png"]
        _, _, names = read_inputs(str(folder / "0" / "2.png"), self.IMAGES)
        assert names == ["2.png"]
        np.save(tmp_path / "new.npy", IMAGES)
        inputs, labels, names = read_inputs(tmp_path / "new.npy", self.IMAGES)
        assert (inputs.shape, labels, names) == ((600, 8, 8), None, None)
        for array in (IMAGES, torch.from_numpy(IMAGES)[:, None]):
            np.testing.assert_array_equal(read_inputs(array, self.IMAGES)[0], IMAGES)

    def test_images_in_folders_and_beside_them(self, tmp_path):
        write_pngs(tmp_path, IMAGES[:4], np.array([0, 0, 0, 1]))
        (tmp_path / "empty").mkdir()
        _, labels, names = read_inputs(tmp_path, self.IMAGES)
        assert labels is not None
        assert labels.tolist() == [0, 0, 0, 1]
        (tmp_path / "1" / "3.png").rename(tmp_path / "top.png")
        _, labels, names = read_inputs(tmp_path, self.IMAGES)
        assert labels is None
        assert names == ["0/0.png", "0/1.png", "0/2.png", "top.png"]

    def test_training_data_alone(self, tmp_path):
        np.savez(tmp_path / "x.npz", x_train=IMAGES, y_train=LABELS)
        inputs, labels, _ = read_inputs(tmp_path / "x.npz", self.IMAGES)
        assert labels is not None
        assert (len(inputs), labels.tolist()) == (600, LABELS.tolist())

    def test_a_frame_and_its_labels(self):
        frame, labels = load_wine(return_X_y=True, as_frame=True)
        columns = read_data((frame, labels)).columns
        fitted = TablePreprocessing.fit(frame.to_numpy(float), np.arange(178), columns)
        mixed = frame[frame.columns[::-1]], labels.map({0: "a", 1: "b", 2: "c"})
        inputs, found, _ = read_inputs(mixed, fitted)
        np.testing.assert_array_equal(inputs, frame)
        assert found is not None
        assert found.tolist() == mixed[1].tolist()

    def test_images_for_a_model_of_rows(self, paths):
        with pytest.raises(DataError, match=r"png: are images, and the model was trained on rows"):
            read_inputs(paths["png"], self.ROWS)

    def test_named_and_objects(self):
        inputs, labels, _ = read_inputs("digits", self.IMAGES)
        assert labels is not None
        assert (len(inputs), set(labels)) == (1437, set("0123456789"))
        inputs, labels, _ = read_inputs((IMAGES, LABELS), self.IMAGES)
        np.testing.assert_array_equal(labels, LABELS)
        with pytest.raises(UsageError, match=r"^data: give the name of a dataset, a path"):
            read_inputs(5, self.IMAGES)

    def test_a_table(self):
        frame = pd.DataFrame({"label": [1], **{f"pixel{i}": [i] for i in range(64)}})
        inputs, _, _ = read_inputs(frame.drop(columns="label"), self.IMAGES)
        np.testing.assert_array_equal(inputs.ravel(), np.arange(64))
        with pytest.raises(DataError, match=re.escape("the model is for 8 x 8")):
            read_inputs(frame.iloc[:, :40], self.IMAGES)
