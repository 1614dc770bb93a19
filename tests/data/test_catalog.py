from __future__ import annotations

import gzip
import hashlib
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

from cotune.data import check_learnable, entries, from_arrays, load
from cotune.data.builtin import fashion_mnist
from cotune.data.builtin.download import cache_folder
from cotune.data.readers.idx import read_idx
from cotune.exceptions import DataError, StorageError

NAMES = [file.stem for file in fashion_mnist._FILES]

# When the official gzip files were packed, in seconds since 1970. With these and the file's name
# in the header, Debian's files become the official ones, byte for byte.
PACKED_AT = dict(zip(NAMES, (1504176606, 1504176627, 1504176606, 1504176627), strict=True))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch) -> Path:
    """An empty cache, and no folder but that one is looked into."""
    monkeypatch.delenv("COTUNE_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "not-installed")
    # pooch looks here on Linux and macOS
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return cache_folder() / "fashion-mnist"


@pytest.fixture
def copies(fashion_mnist_dir, tmp_path: Path, monkeypatch) -> Path:
    """A folder of links to the four files, named by COTUNE_DATA; a test may replace them."""
    folder = tmp_path / "copies"
    folder.mkdir()
    for file in fashion_mnist_dir.glob("*-ubyte*"):
        (folder / file.name).symlink_to(file.resolve())
    monkeypatch.setenv("COTUNE_DATA", str(folder))
    return folder


def replace(folder: Path, stem: str, contents: bytes) -> Path:
    for file in folder.glob(f"{stem}*"):
        file.unlink()
    (folder / stem).write_bytes(contents)
    return folder / stem


def official(folder: Path, stem: str) -> bytes:
    packed = (folder / f"{stem}.gz").read_bytes()
    start = 10 if packed[3] == 0 else packed.index(b"\0", 10) + 1
    name = stem.encode() + b"\0"
    when = struct.pack("<I", PACKED_AT[stem])
    return b"\x1f\x8b\x08\x08" + when + packed[8:10] + name + packed[start:]


class TestFashionMnist:
    def test_whole(self, copies):
        dataset = load("fashion-mnist")
        assert dataset.inputs.shape == (60_000, 28, 28)
        assert dataset.inputs.dtype == np.uint8
        assert dataset.labels.dtype == np.int64
        assert np.bincount(dataset.labels).tolist() == [6000] * 10
        assert dataset.classes[dataset.labels[0]] == "Ankle boot"
        images, labels = dataset.read_test()
        assert len(images) == len(labels) == dataset.n_test == 10_000
        assert np.bincount(labels).tolist() == [1000] * 10
        check_learnable(dataset)

    def test_small_is_the_first_6000(self, copies):
        small, whole = load("fashion-mnist-small"), load("fashion-mnist")
        np.testing.assert_array_equal(small.inputs, whole.inputs[:6000])
        np.testing.assert_array_equal(small.labels, whole.labels[:6000])
        assert small.inputs.base is None
        assert small.n_test == len(small.read_test()[1]) == 10_000
        assert small.fingerprint != whole.fingerprint

    def test_test_files_are_read_when_opened_and_not_before(self, copies):
        path = replace(copies, "t10k-images-idx3-ubyte", b"no images")
        dataset = load("fashion-mnist-small")
        with pytest.raises(DataError, match=f"^{path}: not an IDX file"):
            dataset.read_test()

    @pytest.mark.parametrize("stem", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
    def test_one_changed_value(self, copies, stem):
        values = read_idx(next(copies.glob(f"{stem}*"))).copy()
        values.reshape(-1)[-1] ^= 1
        header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
        path = replace(copies, stem, header + values.tobytes())
        with pytest.raises(DataError, match=rf"^{path}: damaged, .*; replace the file$"):
            load("fashion-mnist")

    def test_plain_files(self, copies):
        packed = copies / "train-labels-idx1-ubyte.gz"
        if not packed.exists():
            pytest.skip("the files found here are not gzipped")
        replace(copies, "train-labels-idx1-ubyte", gzip.decompress(packed.read_bytes()))
        assert len(load("fashion-mnist-small")) == 6000

    def test_counts_differ(self, copies):
        labels = b"\0\0\x08\x01" + struct.pack(">I", 59_999) + bytes(59_999)
        replace(copies, "train-labels-idx1-ubyte", labels)
        with pytest.raises(DataError, match="60,000 rows but 59,999 labels"):
            load("fashion-mnist")

    def test_subfolder_of_cotune_data(self, copies, monkeypatch):
        copies.rename(copies.parent / "fashion-mnist")
        monkeypatch.setenv("COTUNE_DATA", str(copies.parent))
        assert fashion_mnist.find() == copies.parent / "fashion-mnist"

    def test_one_file_missing_in_cotune_data(self, copies):
        next(copies.glob("t10k-labels*")).unlink()
        message = f"{copies}: t10k-labels-idx1-ubyte.gz missing; add the missing files"
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            load("fashion-mnist")
        assert {e.where for e in entries() if "fashion" in e.name} == {message}

    def test_cotune_data_is_no_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("COTUNE_DATA", str(tmp_path / "typo"))
        with pytest.raises(DataError, match=r"typo: no such folder; correct or unset COTUNE_DATA"):
            load("fashion-mnist")

    def test_debian_comes_after_the_cache(self, own_cache, monkeypatch, tmp_path):
        monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "debian")
        for folder in (tmp_path / "debian", own_cache):
            folder.mkdir(parents=True)
            for stem in NAMES:
                assert fashion_mnist.find() != folder
                (folder / f"{stem}.gz").touch()
            assert fashion_mnist.find() == folder


class TestDownload:
    def test_from_a_mirror(self, own_cache, fashion_mnist_dir, server):
        if not (fashion_mnist_dir / f"{NAMES[0]}.gz").exists():
            pytest.skip("the files found here are not gzipped")
        for stem in NAMES:
            server.answers[f"/{stem}.gz"] = [server.body(official(fashion_mnist_dir, stem))]
        assert [e.where for e in entries()][:2] == [
            "not here yet; downloaded when used (31 MB)"
        ] * 2
        folder = fashion_mnist.find_or_download(mirrors=[server.url])
        assert folder == own_cache == fashion_mnist.find()
        assert len(server.asked) == 4
        dataset = load("fashion-mnist-small")
        assert len(dataset.read_test()[0]) == 10_000
        assert len(server.asked) == 4

    def test_resumes_with_the_missing_files(self, own_cache, fashion_mnist_dir, server):
        if not (fashion_mnist_dir / f"{NAMES[0]}.gz").exists():
            pytest.skip("the files found here are not gzipped")
        own_cache.mkdir(parents=True)
        for stem in NAMES[:3]:
            (own_cache / f"{stem}.gz").symlink_to(fashion_mnist_dir / f"{stem}.gz")
        server.answers[f"/{NAMES[3]}.gz"] = [
            server.body(official(fashion_mnist_dir, NAMES[3])),
        ]
        fashion_mnist.find_or_download(mirrors=[server.url])
        assert server.asked == [f"/{NAMES[3]}.gz"]

    def test_advice_when_nothing_answers(self, own_cache, server):
        with pytest.raises(StorageError, match=r"404 .*COTUNE_DATA.*apt install dataset-fashion-"):
            fashion_mnist.find_or_download(mirrors=[server.url])
        assert fashion_mnist.find() is None


class TestNames:
    def test_entries_say_what_load_gives(self, copies):
        for entry in entries():
            dataset = load(entry.name)
            assert dataset.name == entry.name
            assert (len(dataset), dataset.n_test) == (entry.rows, entry.test_rows)
            assert (len(dataset.classes), dataset.input_shape) == (entry.classes, entry.input_shape)
            assert entry.where == ("bundled" if entry.name == "digits" else str(copies))

    def test_unknown_name(self):
        message = (
            "no dataset or file 'Fashon-mnist'; did you mean fashion-mnist? "
            "Datasets: fashion-mnist, fashion-mnist-small, digits"
        )
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            load("Fashon-mnist")
        with pytest.raises(DataError, match=r"^no dataset or file 'xyz'; datasets: fashion-mnist,"):
            load("xyz")

    def test_importing_is_light(self):
        code = (
            "import sys, cotune.data; heavy = {'torch', 'optuna', 'sklearn', 'scipy', 'pooch', "
            "'requests', 'PIL', 'rich'}; print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"


class TestDigits:
    def test_sealed_rows_never_change(self):
        dataset = load("digits")
        inputs, labels = dataset.read_test()
        assert labels.tolist()[:12] == [4, 7, 1, 3, 8, 8, 4, 1, 5, 8, 3, 5]
        digest = hashlib.sha256(inputs.astype(np.uint8).tobytes()).hexdigest()
        assert digest.startswith("b3ea41c4099e78c3")

    def test_nothing_is_lost_or_twice(self):
        dataset, whole = load("digits"), load_digits()
        inputs, labels = dataset.read_test()
        together = np.concatenate((dataset.inputs, inputs)).reshape(1797, -1)
        assert sorted(map(tuple, together)) == sorted(map(tuple, whole.data))
        counts = np.bincount(labels) / np.bincount(whole.target)
        assert np.all(np.abs(counts - 0.2) < 0.01)


class TestFromArrays:
    def test_strings(self):
        iris = load_iris()
        names = iris.target_names[iris.target]
        dataset = from_arrays(iris.data, names)
        assert dataset.classes == ("setosa", "versicolor", "virginica")
        assert (len(dataset), dataset.n_test, dataset.input_shape) == (120, 30, (4,))
        assert np.bincount(dataset.labels).tolist() == [40] * 3
        objects = from_arrays(iris.data, names.astype(object))
        assert objects.fingerprint == dataset.fingerprint

    def test_numbers_that_are_no_indices(self):
        dataset = from_arrays(np.eye(6), [30, -1, 30, -1, 30, -1], test=(np.ones((1, 6)), [30]))
        assert dataset.classes == ("-1", "30")
        assert dataset.labels.tolist() == [1, 0, 1, 0, 1, 0]
        assert dataset.read_test()[1].tolist() == [1]

    def test_strings_in_the_order_of_the_classes(self):
        labels = ["low", "high", "mid", "low"]
        dataset = from_arrays(
            np.eye(4), labels, test=(np.eye(4), labels), classes=["low", "mid", "high"]
        )
        assert dataset.labels.tolist() == [0, 2, 1, 0]

    def test_sealed_part_does_not_depend_on_the_inputs(self):
        labels = np.arange(100) % 4
        rows = np.arange(100.0).reshape(-1, 1)
        one = from_arrays(rows, labels).read_test()[0]
        np.testing.assert_array_equal(from_arrays(rows * 2, labels).read_test()[0], one * 2)

    def test_three_rows_a_class_are_enough(self):
        dataset = from_arrays(np.eye(6), list("aaabbb"))
        assert sorted(dataset.read_test()[1]) == [0, 1]
        check_learnable(dataset)

    @pytest.mark.parametrize(
        ("inputs", "labels", "message"),
        [
            (np.eye(3), [0, 1], "arrays: 3 rows but 2 labels"),
            (np.zeros((0, 3)), [], "arrays: no rows"),
            (np.array([[1.0], [np.nan]]), [0, 1], "arrays: inputs[1, 0] is nan; fill the cell"),
            (np.array([[[1.0, -np.inf]]]), [0], "arrays: inputs[0, 0, 1] is -inf"),
            (np.array([[object()]]), [0], "arrays: inputs[0, 0] is <object object at"),
            ([["a"]], [0], "arrays: inputs[0, 0] is 'a', a text; give an array of numbers"),
            ([[1, 2], [3]], [0, 1], "arrays: inputs are no array"),
            ([1, 2], [0, 1], "arrays: inputs have shape (2,)"),
            (np.eye(2), [[0], [1]], "arrays: labels have shape (2, 1)"),
            (np.eye(2), [0.5, 1], "arrays: labels are of type float64; give whole numbers or"),
            (np.eye(2), ["a", ""], "arrays: labels[1] is missing"),
            (np.eye(2), np.array(["a", None]), "arrays: labels[1] is missing"),
            (np.eye(2), np.array(["a", float("nan")], object), "arrays: labels[1] is missing"),
            (
                np.eye(2),
                np.array(["a", {}]),
                "arrays: labels[1] is {}, of type dict, where row 0 has a text",
            ),
            (np.eye(5), list("aaabb"), "arrays: too few rows of class 'b' (2) to be in the train"),
        ],
    )
    def test_refused(self, inputs, labels, message):
        with pytest.raises(DataError, match=f"^{re.escape(message)}"):
            from_arrays(inputs, labels)

    def test_nan_far_down(self):
        inputs = np.zeros((3000, 1000), np.float32)
        inputs[2998, 7] = np.nan
        with pytest.raises(DataError, match=r"inputs\[2998, 7\] is nan; .* drop row 2998"):
            from_arrays(inputs, np.arange(3000) % 2)

    @pytest.mark.parametrize(
        ("labels", "classes", "message"),
        [
            ([0, 1, 2], ["a", "b"], "labels[2] is '2', which is no class; give one of 0, 1"),
            ([0, -1], ["a", "b"], "labels[1] is '-1', which is no class"),
            (["left", "rihgt"], ["left", "right"], "labels[1] is 'rihgt', which is no class; did"),
            (["a", "b"], ["a", "b", "a"], "class 'a' is listed twice"),
            ([0, 1], [], "the list of classes is empty"),
        ],
    )
    def test_labels_against_classes(self, labels, classes, message):
        with pytest.raises(DataError, match=re.escape(message)):
            from_arrays(np.eye(len(labels)), labels, classes=classes)

    @pytest.mark.parametrize(
        ("test", "message"),
        [
            ((np.eye(2), [0]), "test set: 2 rows but 1 labels"),
            ((np.eye(3), [0, 1, 0]), "test rows have shape (3,), the others (2,)"),
            ((np.zeros((0, 2)), []), "the test set has no rows"),
            ((np.eye(2), [0, 7]), "test labels[1] is '7', which is no class; give one of 0, 1"),
            ((np.eye(2), ["a", "b"]), "test labels are not of the type of the training labels"),
            ((np.full((1, 2), np.nan), [0]), "test inputs[0, 0] is nan"),
        ],
    )
    def test_test_set_refused(self, test, message):
        with pytest.raises(DataError, match=re.escape(message)):
            from_arrays(np.eye(2), [0, 1], test=test)


class TestCheckLearnable:
    @pytest.mark.parametrize(
        ("labels", "classes", "message"),
        [
            ([0], ["a", "b"], "tiny: only one row"),
            ([1, 1, 1], ["a", "b"], "tiny: all 3 rows are of class 'b'"),
            (
                [0, 0, 1],
                ["a", "b"],
                "tiny: too few rows of class 'b' (1) to be in the training and",
            ),
            ([0, 0, 1, 1], ["a", "b", "c"], "tiny: too few rows of class 'c' (0)"),
        ],
    )
    def test_refused(self, labels, classes, message):
        rows = np.zeros((len(labels), 2))
        dataset = from_arrays(rows, labels, classes=classes, test=(rows[:1], [0]), name="tiny")
        with pytest.raises(DataError, match=f"^{re.escape(message)}"):
            check_learnable(dataset)

    def test_two_rows_a_class_are_enough(self):
        rows = np.zeros((4, 2))
        check_learnable(from_arrays(rows, [0, 1, 0, 1], test=(rows, [0, 1, 0, 1])))
