"""Tables that cannot be used are refused in one line."""

from __future__ import annotations

import os

import pandas as pd
import pytest

from cotune.data.tables.tables import read_table
from cotune.exceptions import DataError
from tests.support.tables import GOOD, read_error, values_of, write


class TestFaults:
    """Each is one line that says where, what and what to do."""

    def test_what_is_not_there(self, tmp_path):
        assert read_error(tmp_path / "no.csv") == "no.csv: no such file; check the path"
        folder = tmp_path / "folder.csv"
        folder.mkdir()
        assert read_error(folder) == "folder.csv: is a folder; give the path of a table"
        os.mkfifo(tmp_path / "pipe")
        assert "not a regular file" in read_error(tmp_path / "pipe")
        with pytest.raises(DataError, match="no file can have this name"):
            read_table("a\0b")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "the file is empty; give a file with a header and rows"),
            ("\ufeff \n", "the file is empty; give a file with a header and rows"),
            ("n,label\n", "has a header but no rows; give a file with rows"),
            ("n,label", "has a header but no rows; give a file with rows"),
            (GOOD + "7,a\n", "8: 2 cells where the header has 3; fix the row, or put quotes"),
            (GOOD + "\n7,a,b,no\n", "9: 4 cells where the header has 3; fix the row"),
            (GOOD + '"7,a,no\n', "a quote in line 8 or a later one is never closed; close it"),
            (GOOD + "x,a,no\n", "8:n: 'x' is not a number, as the column's other cells are; fix"),
            (GOOD + '"\n\nx",a,no\n', "8:n: 'x' is not a number"),
            (GOOD.replace("2,b", '2,"b\nb"') + "x,a,no\n", "9:n: 'x' is not a number"),
            (GOOD + "inf,a,no\n", "8:n: inf is no finite number; fix the cell or leave it empty"),
            (GOOD + "-1e999,a,no\n", "8:n: -inf is no finite number"),
            (GOOD + "7,a,\n", "8:label: the label is missing; label the row or drop it"),
            (GOOD + "7,a,NaN\n", "8:label: the label is missing"),
            (GOOD + "7,a,None\n", "8:label: the label is missing (None without quotes), as"),
            ("p;y\n" + "".join(f"{i}.234,5;{i % 2}\n" for i in range(9)), "2:p: '0.234,5' is not"),
            (GOOD.replace("kind", " n "), "columns 1 and 2 are both called 'n'; give each its own"),
            ("5.1,3.5,a\n4.9,3.0,b\n", "1: has numbers where the names of the columns belong"),
            ("id,label\n" + "".join(f"i{i},{i % 2}\n" for i in range(9)), "has no column to learn"),
            ("label\n1\n2\n1\n2\n", "has no column to learn from beside the labels; add one"),
            ("n,y\n" + "".join(f"{i},{i}.5\n" for i in range(9)), "2:y: 0.5 is no class; labels "),
            ("n,y\n" + "".join(f"{i},2020-01-0{i}\n" for i in range(1, 9)), "column 'y' holds da"),
            ("n,label\n1,a\n2,a\n3,a\n4,b\n", "too few rows of class 'b' (1) to be in the train"),
            ("n,y\n1,a\n2," + "b" * 201 + "\n", "column 'y' holds texts of more than 200 char"),
            ("label,pixel0,pixel1,pixel2,pixel3\n1,0,0,0,256\n", "2:pixel3: 256 is no pixel; give"),
            ("label,pixel0,pixel1,pixel2,pixel3\n1,0,,0,25\n", "2:pixel1: the pixel is missing; "),
            ("label,pixel0,pixel1,pixel2,pixel3\n1,0,.5,0,25\n", "2:pixel1: 0.5 is no pixel; give"),
            (b"n,\xfe\xff\0", "byte 2 (counted from 0) is 0xfe, which is no UTF-8; save"),
            (GOOD.encode() + b"7,\xe9t\xe9,no\n", "byte 60 (counted from 0) is 0xe9, which is no"),
            (GOOD + "7,\0,no\n", "byte 60 (counted from 0) is NUL; save the table as CSV in UTF-8"),
            (b"x" * 2**20 + b"\xe2\x82", "byte 1048576 (counted from 0) is 0xe2"),
            ('"n,label\n1,2\n', "a quote in line 1 or a later one is never closed"),
        ],
    )  # fmt: skip
    def test_in_a_csv_file(self, tmp_path, content, message):
        found = read_error(write(tmp_path, content))
        assert found.removeprefix("table.csv:").strip().startswith(message)

    def test_numbers_with_a_comma_in_a_tsv_file(self, tmp_path):
        path = write(tmp_path, "p\ty\n" + "".join(f"{i},5\t{i % 2}\n" for i in range(9)), "t.tsv")
        data = read_table(path)
        assert values_of(data, "p") == [i + 0.5 for i in range(9)]

    def test_names_and_values_are_cut_short_and_stay_on_their_line(self, tmp_path):
        name = "line\nbreak " * 30
        content = GOOD.replace("n,", f'"{name}",') + '"' + "x\ny" * 90 + '",a,no\n'
        message = read_error(write(tmp_path, content))
        assert "9:line break line break " in message or ":line break line break " in message

    def test_a_target_that_is_not_there(self, tmp_path):
        path = write(tmp_path, GOOD)
        message = read_error(path, target="Lable")
        assert message == "table.csv: has no column 'Lable'; did you mean 'label'?"
        message = read_error(path, target="species")
        assert message == "table.csv: has no column 'species'; its columns are n, kind, label"

    @pytest.mark.parametrize(
        ("header", "rows", "message"),
        [
            ("n,label", "1,yes\n", "its columns differ from the training data's (missing: kind); "),
            ("n,kind,label,age", "1,a,yes,3\n", "differ from the training data's (not there in t"),
            ("n,typ,label", "1,a,yes\n", "(missing: kind; not there in training: typ); give the"),
            ("n,kind,label", "1,a,yes\nx,a,no\n", "3:n: 'x' is not a number, as the column's oth"),
            ("n,kind,label", "1,a,yes\n1,a,maybe\n", "3:label: 'maybe' is no class of the train"),
            ("n,kind,label", "1,a,yes\n1,a,\n", "3:label: the label is missing"),
        ],
    )  # fmt: skip
    def test_in_a_test_set(self, tmp_path, header, rows, message):
        test = write(tmp_path, f"{header}\n{rows}", "test.csv")
        with pytest.raises(DataError) as caught:
            read_table(write(tmp_path, GOOD), test=test)
        assert str(caught.value).startswith(str(test))
        assert message in str(caught.value)


def test_a_csv_file_of_too_many_cells_is_not_parsed(tmp_path):
    wide = ",".join(f"c{i}" for i in range(90_000))
    path = write(tmp_path, f"{wide}\n" + "\n" * 10_000)
    assert "cells are more than a table in memory may have" in read_error(path)
    os.truncate(path, 2**40)  # sparse
    assert "bytes are more than a table in memory may have" in read_error(path)


def test_objects_of_two_types_in_a_column():
    with pytest.raises(DataError, match=r"^table:1:x: 'a' is a text, where 2 rows have a n"):
        read_table(pd.DataFrame({"x": [1, "a", 2.5], "label": [0, 1, 0]}))
