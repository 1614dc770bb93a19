from __future__ import annotations

import hashlib
import os
import pty
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from cotune.data.builtin import download
from cotune.exceptions import DataError, StorageError

CONTENTS = np.random.default_rng(0).bytes(200_000)
MD5 = hashlib.md5(CONTENTS, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def short_pauses_and_no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "_PAUSE", 0.02)


def fetch(folder, *mirrors, **changes):
    wanted: dict[str, Any] = {
        "size": len(CONTENTS),
        "md5": MD5,
        "advice": "plug it in",
    }
    return download.fetch("file.bin", mirrors, folder, **(wanted | changes))


def unused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_whole_file(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS)]
    path = fetch(tmp_path / "new" / "folder", server.url)
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == CONTENTS
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


def test_is_not_downloaded_twice(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS)]
    fetch(tmp_path, server.url)
    fetch(tmp_path, server.url)
    assert len(server.asked) == 1


def test_truncated(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS[:150_000], length=200_000)]
    with pytest.raises(StorageError) as caught:
        fetch(tmp_path, server.url)
    assert str(caught.value) == (
        f"file.bin could not be downloaded ({server.url}file.bin: broke off before all "
        "200,000 bytes had come); plug it in"
    )
    assert len(server.asked) == 3
    assert list(tmp_path.iterdir()) == []


def test_shorter_than_expected(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS[:-1])]
    with pytest.raises(StorageError, match="ended after 199,999 of 200,000 bytes"):
        fetch(tmp_path, server.url)
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS[::-1])]
    with pytest.raises(DataError, match=f"{server.url}file.bin: the MD5 of what it sends is not"):
        fetch(tmp_path, server.url)
    assert list(tmp_path.iterdir()) == []


def test_longer_than_expected_is_cut_off(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS + b"x")]
    with pytest.raises(DataError, match="sends more than 200,000 bytes"):
        fetch(tmp_path, server.url)
    assert list(tmp_path.iterdir()) == []


def test_404_is_final(server, tmp_path):
    with pytest.raises(StorageError, match=f"{server.url}file.bin: HTTP 404 Not Found"):
        fetch(tmp_path, server.url)
    assert server.asked == ["/file.bin"]


def test_fails_twice_then_works(server, tmp_path):
    server.answers["/file.bin"] = [
        server.status(503),
        server.body(CONTENTS[:9], length=len(CONTENTS)),
        server.body(CONTENTS),
    ]
    assert fetch(tmp_path, server.url).read_bytes() == CONTENTS
    assert len(server.asked) == 3


def test_cut_before_any_answer_is_tried_again(server, tmp_path):
    server.answers["/file.bin"] = [
        lambda handler: handler.connection.shutdown(socket.SHUT_RDWR),
        server.body(CONTENTS),
    ]
    assert fetch(tmp_path, server.url).read_bytes() == CONTENTS


def test_refused_connection(tmp_path):
    url = unused_url()
    with pytest.raises(StorageError, match=rf"\({url}file.bin: connection refused\); plug it in$"):
        fetch(tmp_path, url)


def test_unknown_host(tmp_path):
    with pytest.raises(StorageError, match="the host's address was not found"):
        fetch(tmp_path, "http://nowhere.invalid/")


def test_host_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # fill the queue of connections
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        with pytest.raises(StorageError, match=r"no connection within 0\.2 s"):
            fetch(tmp_path, f"http://127.0.0.1:{address[1]}/")
        for client in waiting:
            client.close()


def test_server_that_falls_silent(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ_SECONDS", 0.1)
    server.answers["/file.bin"] = [lambda handler: handler.rfile.read(1)]
    with pytest.raises(StorageError, match=r"silent for 0\.1 s"):
        fetch(tmp_path, server.url)


def test_mirrors_are_tried_in_turn(server, tmp_path):
    server.answers["/wrong/file.bin"] = [server.body(CONTENTS[::-1])]
    server.answers["/right/file.bin"] = [server.body(CONTENTS)]
    mirrors = [unused_url(), *(f"{server.url}{name}/" for name in ("gone", "wrong", "right"))]
    assert fetch(tmp_path, *mirrors).read_bytes() == CONTENTS
    assert server.asked == ["/gone/file.bin", "/wrong/file.bin", "/right/file.bin"]


def test_folder_that_cannot_be_written(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS)]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"^{tmp_path / 'file' / 'sub'}.*: cannot be written"):
        fetch(tmp_path / "file" / "sub", server.url)


def test_one_line_without_a_terminal(server, tmp_path, capfd):
    server.answers["/file.bin"] = [server.body(CONTENTS)]
    fetch(tmp_path, server.url)
    assert capfd.readouterr() == ("", "downloading file.bin (0.2 MB) from 127.0.0.1\n")


def test_bar_on_a_terminal(server, tmp_path):
    server.answers["/file.bin"] = [server.body(CONTENTS)]
    ours, theirs = pty.openpty()
    code = (
        "from pathlib import Path; from cotune.data.builtin.download import fetch; "
        f"fetch('file.bin', [{server.url!r}], Path({str(tmp_path)!r}), "
        f"size={len(CONTENTS)}, md5={MD5!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
        timeout=30,
    )
    os.close(theirs)
    shown = os.read(ours, 2**16).decode()
    os.close(ours)
    assert done.stdout == b""
    assert "file.bin" in shown
    assert "200.0/200.0 kB" in shown
