"""Damaged images are named all at once, or left out where that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cotune.cli.main import main
from cotune.data import Standardize
from cotune.data.dataset import Reading
from cotune.data.reading import read_data, read_inputs
from cotune.exceptions import DataError
from tests.support.pictures import CLASSES, write_images, write_parts

SKIP = Reading(skip_damaged=True)


def damage(path: Path) -> None:
    """Cut a file, so that it still says that it is an image of its size."""
    path.write_bytes(path.read_bytes()[:55])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """11 images, 3 damaged: one cut, one empty, one a text; a folder that is called as an image."""
    write_images(tmp_path, "cat/", "dog/")
    damage(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "4.png").write_bytes(b"")
    (tmp_path / "dog" / "0.png").write_text("hello")
    (tmp_path / "dog" / "3.png").unlink()
    (tmp_path / "dog" / "3.png").mkdir()
    return tmp_path


def test_all_are_in_one_error(folder):
    with pytest.raises(DataError) as error:
        read_data(folder)
    said = str(error.value)
    assert said.startswith(f"{folder}: 3 images cannot be used: cat/1.png (cannot be ")
    for name in ("cat/4.png (is empty)", "dog/0.png (is no PNG, "):
        assert name in said
    assert said.endswith("; replace them, or leave them out with --skip-damaged")
    assert "\n" not in said


def test_the_first_twenty(tmp_path):
    write_images(tmp_path, "cat/", "dog/", count=15)
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r": 30 images cannot be used: .* and 10 more; replace"
    ) as e:
        read_data(tmp_path)
    assert str(e.value).count(".png (") == 20


def test_those_of_the_test_part_too(tmp_path):
    write_parts(tmp_path, "train", "test")
    for part in ("train", "test"):
        damage(tmp_path / part / "cat" / "2.png")
    with pytest.raises(DataError, match=r"2 images cannot be used: test/cat/2.*, train/cat/2\.pn"):
        read_data(tmp_path)
    dataset = read_data(tmp_path, reading=SKIP)
    assert (len(dataset), dataset.n_test) == (11, 11)
    assert "1 damaged of 12 images left out: train/cat/2.png" in dataset.remarks
    assert "test set: 1 damaged of 12 images left out: test/cat/2.png" in dataset.remarks
    whole = tmp_path / "whole"
    write_parts(tmp_path, "whole")
    message = f"^{tmp_path}/test/cat/2.png: cannot be decoded .*, or leave it out with --skip-dama"
    with pytest.raises(DataError, match=message):
        read_data(whole, test=tmp_path / "test")
    assert read_data(whole, test=tmp_path / "test", reading=SKIP).n_test == 11


def test_left_out(folder):
    dataset = read_data(folder, reading=SKIP)
    assert len(dataset) + dataset.n_test == 8
    assert "3 damaged of 11 images left out: cat/1.png, cat/4.png, dog/0.png" in dataset.remarks
    for name in ("cat/1.png", "cat/4.png", "dog/0.png"):
        (folder / name).unlink()
    assert read_data(folder).fingerprint == dataset.fingerprint


def test_damaged_images_have_no_say_in_the_size(tmp_path):
    """Cut ones still have a header that says another size."""
    write_images(tmp_path, "cat/", "dog/", count=3)
    for i in range(9):
        Image.new("RGB", (20, 20), "red").save(tmp_path / "cat" / f"large{i}.png")
        damage(tmp_path / "cat" / f"large{i}.png")
    dataset = read_data(tmp_path, reading=SKIP)
    assert dataset.input_shape == (6, 6)
    assert dataset.remarks[0].startswith("9 damaged of 15 images left out: cat/large0.png")


def test_a_class_of_which_nothing_is_left(tmp_path):
    write_images(tmp_path, "cat/", "dog/", "emu/")
    for path in (tmp_path / "dog").iterdir():
        damage(path)
    with pytest.raises(DataError, match=f"^{tmp_path}/dog: all its images are damaged, so its cla"):
        read_data(tmp_path, reading=SKIP)


def test_new_images_are_never_left_out(folder):
    with pytest.raises(DataError, match=r": 3 images cannot be used: .*; replace them$"):
        read_inputs(folder, Standardize(0.0, 1.0, (6, 6)), classes=CLASSES)
    with pytest.raises(DataError, match=r"cat/1\.png: cannot be decoded .*; replace the file$"):
        read_inputs(folder / "cat" / "1.png", Standardize(0.0, 1.0, (6, 6)), classes=CLASSES)


def test_at_the_command_line(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["run", str(folder), "--dry-run"])
    assert end.value.code == 3
    assert capsys.readouterr().err.count("\n") == 1
    main(["run", str(folder), "--dry-run", "--skip-damaged"])
    assert "3 damaged of 11 images left out" in " ".join(capsys.readouterr().out.split())
