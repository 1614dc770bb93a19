"""Folders of parts, of classes and of groups are told apart, and doubt is said or refused."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cotune.cli.main import main
from cotune.data import Dataset, Standardize
from cotune.data.readers.split_names import EVALUATION, TEST, TRAIN, VALIDATION, split_ranks
from cotune.data.reading import read_data, read_inputs
from cotune.exceptions import DataError
from tests.support.pictures import CLASSES, write_images, write_parts

SMALL = Standardize(0.0, 1.0, (6, 6))


def remarks_of(dataset: Dataset) -> str:
    return "\n".join(dataset.remarks)


class TestParts:
    @pytest.mark.parametrize(
        "names",
        [
            ("train", "test"),
            ("Training", "Testing"),
            ("TRAIN", "TEST"),
            ("training_set", "test_set"),
            ("train_images", "test_images"),
            ("trainset", "testset"),
            ("TrainData", "TestData"),
            ("Train Images", "Test Images"),
            ("train", "test1"),
            ("01_train", "02-test"),
            ("seg_train", "seg_test"),
            ("xray-train", "xray-holdout"),
            ("train", "hold-out"),
            ("train", "dev"),
            ("train", "eval"),
            ("train", "validation_set"),
            ("train2017", "val2017"),
        ],
    )
    def test_their_spellings(self, names, tmp_path):
        train, test = names
        write_parts(tmp_path, train)
        write_parts(tmp_path, test, count=4)
        dataset = read_data(tmp_path)
        assert dataset.classes == CLASSES
        assert (len(dataset), dataset.n_test) == (12, 8)
        told = f"test set: {test}/ is read as the test set" in dataset.remarks
        assert told == (test.lower() not in ("test", "testing"))

    def test_of_three_the_likeliest_is_the_test_set(self, tmp_path):
        write_parts(tmp_path, "training", "validation", "evaluation")
        dataset = read_data(tmp_path)
        assert (len(dataset), dataset.n_test) == (24, 12)
        assert "validation/ is added to the training set" in dataset.remarks
        assert "test set: evaluation/ is read as the test set" in dataset.remarks
        write_parts(tmp_path, "test", count=2)
        dataset = read_data(tmp_path)
        assert (len(dataset), dataset.n_test) == (36, 4)

    @pytest.mark.parametrize("wrapper", ["data", "dataset/images", "archive"])
    def test_in_a_wrapper(self, wrapper, tmp_path):
        write_parts(tmp_path / wrapper, "train", "test")
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 12, 12)
        assert f"the data are in {wrapper.split('/')[0]}/, the only folder" in remarks_of(dataset)

    def test_beside_what_is_no_data(self, tmp_path):
        write_parts(tmp_path, "Images")
        write_images(tmp_path, "masks/")
        (tmp_path / "docs").mkdir()
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset) + dataset.n_test) == (CLASSES, 12)
        remark = "the data are in Images/, the only folder of folders; docs/ and masks/ skipped"
        assert remark in dataset.remarks

    def test_twice_by_their_own_name(self, tmp_path):
        write_parts(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
        write_images(tmp_path, "seg_pred/seg_pred/")
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 12, 12)
        assert "seg_pred/ (6 images) skipped: not a part by its name" in dataset.remarks

    def test_a_copy_of_the_whole_is_passed_over(self, tmp_path):
        for folder in (tmp_path / "xray", tmp_path / "xray" / "xray"):
            write_parts(folder, "train", "test", "val")
        dataset = read_data(tmp_path / "xray")
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 24, 12)
        assert "xray/ skipped: it holds test, train and val again" in dataset.remarks
        write_parts(tmp_path, "flowers", "flowers/flowers")
        dataset = read_data(tmp_path / "flowers")
        assert (dataset.classes, len(dataset) + dataset.n_test) == (CLASSES, 12)

    def test_what_systems_leave(self, tmp_path):
        write_parts(tmp_path, "flowers")
        for leftover in ("__MACOSX/flowers/cat/._0.png", "flowers/.ipynb_checkpoints/x.png"):
            path = tmp_path / leftover
            path.parent.mkdir(parents=True)
            path.write_bytes(b"\0")
        dataset = read_data(tmp_path)
        assert dataset.classes == CLASSES
        assert "__MACOSX skipped" in dataset.remarks

    @pytest.mark.parametrize("test", ["test/", "test/unknown/"])
    def test_a_test_part_without_labels_is_for_predictions(self, test, tmp_path):
        write_parts(tmp_path, "train")
        write_images(tmp_path, test)
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 9, 3)
        assert (
            "test/ holds images without folders of classes, so it is not the test set; to pr"
            in (remarks_of(dataset))
        )
        for path in sorted((tmp_path / "test").rglob("*.png")):
            path.unlink()
        assert "test/ holds no images, so it is not the test set" in read_data(tmp_path).remarks
        write_parts(tmp_path, "val")
        assert (len(dataset := read_data(tmp_path)), dataset.n_test) == (12, 12)

    @pytest.mark.parametrize("name", ["sample", "unlabelled", "unlabelled test", "train_masks"])
    def test_what_lies_beside_is_said(self, name, tmp_path):
        write_parts(tmp_path, "train", "test")
        write_images(tmp_path, f"{name}/")
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 12, 12)
        assert f"{name}/ (6 images) skipped: not a part by its name" in dataset.remarks

    def test_a_part_of_an_unknown_name(self, tmp_path):
        write_parts(tmp_path, "train", "foo")
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 9, 3)
        assert f"if it is the test set, give {tmp_path}/foo with --test" in remarks_of(dataset)

    def test_within_the_classes(self, tmp_path):
        for name in CLASSES:
            write_images(tmp_path, f"{name}/train/", f"{name}/val/", f"{name}/test/")
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset), dataset.n_test) == (CLASSES, 24, 12)
        assert "train/, val/ and test/ in the folder of each class are read as parts" in (
            dataset.remarks
        )

    def test_two_test_sets(self, tmp_path):
        write_parts(tmp_path, "train", "test1", "test2")
        with pytest.raises(DataError, match=f"^{tmp_path}: which of test1 and test2 is the test s"):
            read_data(tmp_path)
        dataset = read_data(tmp_path / "train", test=tmp_path / "test2")
        assert (len(dataset), dataset.n_test) == (12, 12)

    def test_several_datasets(self, tmp_path):
        write_parts(tmp_path, "a/train", "a/test", "b/train", "b/test")
        with pytest.raises(DataError, match="a/ and b/ are datasets with parts of their own; give"):
            read_data(tmp_path)

    def test_names(self):
        assert split_ranks(["train", "Validation_Set", "eval", "held-out"]) == {
            "train": TRAIN,
            "Validation_Set": VALIDATION,
            "eval": EVALUATION,
            "held-out": TEST,
        }
        assert split_ranks(["train_station", "test_tube", "bus", "invalid", "contest"]) == {}
        assert split_ranks(["train_masks", "test_masks"]) == {}


class TestClasses:
    """A class may be called as a part is."""

    @pytest.mark.parametrize(
        "names",
        [
            ("boat", "bus", "train"),
            ("control", "test"),
            ("bus_stop", "test_tube", "train_station"),
            ("invalid", "valid"),
            ("mask", "no_mask"),
        ],
    )
    def test_flat(self, names, tmp_path):
        write_images(tmp_path, *(f"{name}/" for name in names))
        dataset = read_data(tmp_path)
        assert dataset.classes == names
        assert len(dataset) + dataset.n_test == 6 * len(names)

    def test_with_folders_of_their_own_doubt_is_said(self, tmp_path):
        write_images(tmp_path, "train/steam/", "train/electric/", "bus/city/", "boat/sail/")
        dataset = read_data(tmp_path)
        assert dataset.classes == ("boat", "bus", "train")
        assert f"if it is a part, give {tmp_path}/train" in remarks_of(dataset)
        assert "images in sail/, city/, electric/ and steam/ are of the class that" in (
            remarks_of(dataset)
        )

    def test_masks_of_the_images(self, tmp_path):
        for name in CLASSES:
            write_images(tmp_path, f"{name}/images/", f"{name}/masks/")
        dataset = read_data(tmp_path)
        assert (dataset.classes, len(dataset) + dataset.n_test) == (CLASSES, 12)
        assert "masks/ skipped in 2 folders of classes" in dataset.remarks


class TestGroups:
    """Folders that hold the same folders as one another are hardly the classes."""

    @pytest.mark.parametrize(
        ("groups", "inner", "classes"),
        [
            (("fold1", "fold2", "fold3"), CLASSES, CLASSES),
            (("grey", "segmented"), CLASSES, CLASSES),
            (("10253", "10254"), ("0", "1"), ("0", "1")),
            (("amazon/images", "dslr/images"), CLASSES, CLASSES),
            (("cat", "dog"), ("2019", "2020"), CLASSES),
        ],
    )
    def test_which_are_the_classes_is_said(self, groups, inner, classes, tmp_path):
        write_parts(tmp_path, *groups, classes=inner)
        dataset = read_data(tmp_path)
        assert dataset.classes == classes
        assert re.search("hold the same folders.* are read as the classes", remarks_of(dataset))


class TestUnlabelled:
    """Where no folder is a class, nothing is trained."""

    @pytest.mark.parametrize(
        ("folders", "where"),
        [
            (("train/", "test/"), "train"),
            (("train/", "val/", "sample/"), "train"),
            (("images/",), "images"),
            (("images/", "masks/"), "images"),
            (("train/images/", "valid/images/"), "train/images"),
            (("trainA/", "trainB/", "testA/", "testB/"), "trainA"),
            (("val/", "test/"), "val"),
        ],
    )
    def test_refused(self, folders, where, tmp_path):
        write_images(tmp_path, *folders)
        message = f"^{tmp_path}/{where}: .*; put the images of each class into a folder of its own$"
        with pytest.raises(DataError, match=message):
            read_data(tmp_path)

    def test_a_table_beside_is_named(self, tmp_path):
        write_images(tmp_path, "images/")
        (tmp_path / "labels.csv").write_text("file,label\n")
        with pytest.raises(DataError, match=r"own \(perhaps as labels\.csv says\)"):
            read_data(tmp_path)

    @pytest.mark.parametrize(
        ("part", "mark"),
        [
            ("train", "."),
            ("train", "_"),
            ("train", "-"),
            ("train", ""),
            ("images", " ("),
            ("my photos", "."),
            (".", "_"),
        ],
    )
    def test_classes_in_the_names_of_files(self, part, mark, tmp_path):
        """The line in the message puts them into folders, which can then be trained on."""
        ending = ").png" if mark == " (" else ".png"
        write_images(tmp_path / part, f"cat{mark}", f"big_dog{mark}", ending=ending)
        if part == "train":
            write_images(tmp_path, "test1/")
        with pytest.raises(
            DataError, match=r"Their names begin with big_dog, cat; if these are th"
        ) as e:
            read_data(tmp_path)
        assert "\n" not in str(e.value)
        command = str(e.value).partition("in a shell: ")[2]
        subprocess.run(["bash", "-c", command], check=True)
        dataset = read_data(tmp_path)
        assert dataset.classes == ("big_dog", "cat")
        assert len(dataset) + dataset.n_test == 12

    def test_numbered_folders_with_such_files(self, tmp_path):
        write_images(tmp_path, "set_a/cat.", "set_a/dog.", "set_b/cat.", "set_b/dog.")
        with pytest.raises(DataError, match=r"set_a: has no folders of classes; .* begin with cat"):
            read_data(tmp_path)
        (tmp_path / "set_a").rename(tmp_path / "indoor")
        (tmp_path / "set_b").rename(tmp_path / "outdoor")
        dataset = read_data(tmp_path)
        assert "the files in indoor/ and outdoor/ begin with the same words, cat and dog" in (
            remarks_of(dataset)
        )

    def test_at_the_command_line(self, tmp_path, capsys):
        write_images(tmp_path, "train/cat.", "train/dog.", "test1/")
        with pytest.raises(SystemExit) as end:
            main(["run", str(tmp_path), "--dry-run"])
        assert end.value.code == 3
        said = capsys.readouterr().err
        assert said.startswith(f"cotune: error: {tmp_path}/train: is a part of the data without f")
        assert said.count("\n") == 1


class TestTestSets:
    def test_a_class_that_the_training_data_lack(self, tmp_path):
        write_parts(tmp_path, "train", "test")
        write_images(tmp_path, "test/emu/")
        message = f"^{tmp_path}/test/emu: its class is not in the training data, which have cat and"
        with pytest.raises(DataError, match=message):
            read_data(tmp_path)
        with pytest.raises(DataError, match=message):
            read_data(tmp_path / "train", test=tmp_path / "test")

    def test_a_class_that_it_lacks_itself(self, tmp_path):
        write_parts(tmp_path, "train")
        write_images(tmp_path, "test/cat/")
        for dataset in (
            read_data(tmp_path),
            read_data(tmp_path / "train", test=tmp_path / "test"),
        ):
            assert dataset.n_test == 6
            assert "test set: there is no folder of dog" in dataset.remarks

    def test_an_empty_class(self, tmp_path):
        write_parts(tmp_path, "train", "test")
        for path in (tmp_path / "test" / "dog").iterdir():
            path.unlink()
        with pytest.raises(
            DataError, match=f"^{tmp_path}/test/dog: has no images, so its class is"
        ):
            read_data(tmp_path)

    def test_a_folder_with_parts_or_groups(self, tmp_path):
        write_parts(tmp_path, "own/train", "own/test", "new/train", "new/test")
        write_parts(tmp_path, *(f"years/{name}" for name in CLASSES), classes=("2019", "2020"))
        dataset = read_data(tmp_path / "own", test=tmp_path / "new")
        assert (len(dataset), dataset.n_test) == (12, 12)
        assert "the data's own test set skipped: another was given" in dataset.remarks
        assert "test set: the test part of new/ is read alone" in dataset.remarks
        dataset = read_data(tmp_path / "own", test=tmp_path / "years")
        assert (dataset.classes, dataset.n_test) == (CLASSES, 24)


class TestNewImages:
    """Labels of rows that are predicted or evaluated."""

    @pytest.mark.parametrize(
        ("parts", "where"),
        [
            (("seg_train/seg_train", "seg_test/seg_test"), "seg_test/"),
            (("data/train", "data/test"), "data/test/"),
            (("fold1", "fold2"), "fold"),
        ],
    )
    def test_in_parts(self, parts, where, tmp_path):
        write_parts(tmp_path, *parts)
        _, labels, names = read_inputs(tmp_path, SMALL, classes=CLASSES)
        assert labels is not None
        assert names is not None
        assert set(labels) == set(CLASSES)
        assert all(
            name.startswith(where) and Path(name).parent.name == label
            for name, label in zip(names, labels, strict=True)
        )

    def test_folders_within_a_class(self, tmp_path):
        write_images(tmp_path, "cat/2019/", "cat/2020/")
        _, labels, _ = read_inputs(tmp_path, SMALL, classes=CLASSES)
        assert labels is not None
        assert set(labels) == {"cat"}

    @pytest.mark.parametrize("folders", [("train/", "test1/"), ("images/",), ("set_a/cat.",)])
    def test_without_classes_every_file_is_a_row(self, folders, tmp_path):
        write_images(tmp_path, *folders)
        inputs, labels, _ = read_inputs(tmp_path, SMALL, classes=CLASSES)
        assert len(inputs) == 6 * len(folders)
        assert labels is None or not set(labels) & set(CLASSES)
