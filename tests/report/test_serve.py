"""A model behind a real server: the predictions of `cotune predict`, bounds, and bad input."""

from __future__ import annotations

import csv
import http.client
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from PIL import Image

import cotune
from cotune.cli.main import cotune as command
from cotune.cli.main import main
from cotune.inference.model_file import save_model
from cotune.inference.predict import load_predictor
from cotune.report.serve import Served, make_server, model_name
from tests.inference.test_model_file import make_cnn, make_model
from tests.report.test_hostile_names import CHROMIUM, FLAGS

GOLDEN = Path(__file__).parents[1] / "golden"
RUN, PEOPLE = GOLDEN / "complete", GOLDEN / "people.csv"
CSV, JSON, FORM = "text/csv", "application/json", "multipart/form-data; boundary=xyz"


@contextmanager
def served(path: Path, host: str = "127.0.0.1", token: str = "", **bounds: Any) -> Iterator[str]:
    """A real server of a model, as `cotune serve` starts it."""
    model = Served(model_name(path), load_predictor(path), **bounds)
    server, address = make_server(model, host, 0, token)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def post(address: str, body: Any, kind: str, **headers: str) -> requests.Response:
    body = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return requests.post(
        f"{address}predict", data=body, headers={"Content-Type": kind, **headers}, timeout=30
    )


def rows_of(answer: requests.Response) -> list[tuple[str, list[float]]]:
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    return [(one["label"], list(one["probabilities"].values())) for one in found]


def predicted(path: Path, data: Path) -> list[tuple[str, list[float]]]:
    """What `cotune predict DIR DATA --proba` prints."""
    done = CliRunner().invoke(command, ["predict", str(path), str(data), "--proba"])
    assert done.exit_code == 0
    lines = list(csv.reader(io.StringIO(done.output)))[1:]
    return [(label, list(map(float, shares))) for _, label, *shares in lines]


def about(label: str, shares: list[float]) -> tuple[str, Any]:
    """A row alone, whose products may be rounded otherwise than those of many rows."""
    return label, pytest.approx(shares, abs=1e-6)


def people() -> list[dict[str, Any]]:
    with open(PEOPLE, newline="") as file:
        return [
            {
                "age": int(row["age"]) if row["age"] else None,
                "income": float(row["income"]) if row["income"] else None,
                "town": row["town"] or None,
            }
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def table() -> Iterator[str]:
    with served(RUN, most_rows=300, most_bytes=1_000_000) as address:
        yield address


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of grey images of 5 x 4 pixels."""
    folder = tmp_path_factory.mktemp("cnn")
    save_model(folder, make_cnn(), {}, "1.2.3")
    return folder


def in_form(content: bytes, name: str) -> bytes:
    head = f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def test_rows_in_every_form_get_what_predict_prints(table: str) -> None:
    expected, content = predicted(RUN, PEOPLE), PEOPLE.read_bytes()
    assert len(expected) == 240
    texts = [
        {name: None if cell is None else str(cell) for name, cell in row.items()}
        for row in people()
    ]
    for body, kind in (
        (content, CSV),
        (content.replace(b",", b"\t"), "text/tab-separated-values; charset=utf-8"),
        (in_form(content, "people.csv") + b"--xyz--\r\n", FORM),
        (people(), JSON),
        (texts, JSON),
        ([{**row, "more": 1} for row in people()], JSON),
        ([list(row.values()) for row in people()], JSON),
    ):
        assert rows_of(post(table, body, kind)) == expected
    assert rows_of(post(table, people()[0], JSON)) == [about(*expected[0])]
    known = [{name: cell for name, cell in row.items() if cell is not None} for row in people()]
    assert rows_of(post(table, known, JSON)) == expected


def test_images_get_what_predict_prints(pictures: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(3)]
    with served(pictures) as address:
        bodies = []
        for i, suffix in enumerate(("png", "jpeg", "bmp")):
            path = tmp_path / f"{i}.{suffix}"
            Image.fromarray(photos[i]).save(path)
            bodies.append(path)
            sent = post(address, path.read_bytes(), f"image/{suffix}")
            assert rows_of(sent) == predicted(pictures, path)
        form = b"".join(in_form(path.read_bytes(), path.name) for path in bodies) + b"--xyz--"
        assert rows_of(post(address, form, FORM)) == predicted(pictures, tmp_path)


def test_arrays_get_what_predict_returns(pictures: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (7, 5, 4), np.uint8)
    file = io.BytesIO()
    np.save(file, rows)
    shares = cotune.predict(pictures, rows, proba=True).astype(np.float32)
    with served(pictures) as address:
        for body, kind in ((rows.tolist(), JSON), (file.getvalue(), "application/x-npy")):
            found = np.array([row for _, row in rows_of(post(address, body, kind))], np.float32)
            assert np.array_equal(found, shares)


def test_many_requests_at_once(table: str) -> None:
    expected = predicted(RUN, PEOPLE)

    def ask(place: int) -> bool:
        return rows_of(post(table, [people()[place]], JSON)) == [about(*expected[place])]

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(ask, range(96)))


DEEP = "[" * 100_000
BAD: list[tuple[Any, str, int, str]] = [
    (b"", JSON, 400, "the body is not JSON"),
    ("{", JSON, 400, "the body is not JSON"),
    (DEEP, JSON, 400, "the body is not JSON"),
    (b"\xff\xfe\x00", JSON, 400, "the body is not JSON"),
    ("[NaN]", JSON, 400, "NaN is no number of JSON"),
    ([], JSON, 400, "no list of rows"),
    (3, JSON, 400, "no list of rows"),
    ([1, 2, 3], JSON, 400, "not all objects, or all lists"),
    ([{"age": 1}, [1, 2, 3]], JSON, 400, "not all objects, or all lists"),
    ([{"colour": 1}], JSON, 400, "none of the columns age, income, town"),
    ([{"age": 1, "town": "Ulm"}], JSON, 400, "missing: income"),
    ([[1, 2]], JSON, 400, "row 0 (counted from 0): 2 cells, the model was trained on 3 columns"),
    ([{"age": [1], "income": 1, "town": ""}], JSON, 400, "'age' is a list or an object"),
    ([{"age": "old", "income": 1, "town": ""}], JSON, 400, "age: 'old' is not a number"),
    ([{"age": 1e999, "income": 1, "town": ""}], JSON, 400, "Infinity is no number of JSON"),
    ('[{"age": 1e999, "income": 1, "town": ""}]', JSON, 400, "inf is no finite number"),
    (f'[{{"age": 1{"0" * 400}, "income": 1, "town": ""}}]', JSON, 400, "too large"),
    ('[{"age": 1, "income": 1, "town": "\\ud800"}]', JSON, 400, "cannot be read"),
    ("age,income,town\n1,2\n", CSV, 400, "rows.csv:2: 2 cells where the header has 3"),
    ("age,income,town\n", CSV, 400, "rows.csv: has a header but no rows"),
    ("age,income,town\n1,2,\0\n", CSV, 400, "is NUL"),
    ("", CSV, 400, "rows.csv: the file is empty"),
    (b"GIF89a", "image/gif", 400, "image.gif"),
    (b"x" * 20, "application/x-npy", 400, "rows.npy"),
    ("x", "application/x-pickle", 415, "application/x-pickle: is not read; send"),
    ("age=3", "application/x-www-form-urlencoded", 415, "is not read; send application/json"),
    ("--xyz--", FORM, 400, "the form has no file in it"),
    ("x", "multipart/form-data", 400, "the form has no file in it"),
    (in_form(b"a", "a.exe") + b"--xyz--", FORM, 415, "is not read"),
    (in_form(b"a", "a.csv") * 2 + b"--xyz--", FORM, 400, "several files"),
    ([{"age": 1}] * 301, JSON, 413, "301 rows are more than the 300 of a request"),
    ("age,income,town\n" + "1,2,Ulm\n" * 301, CSV, 413, "301 rows are more than the 300"),
    (b"x" * 20_000_000, CSV, 413, "the body is larger than 1,000,000 bytes"),
]


@pytest.mark.parametrize(("body", "kind", "code", "line"), BAD, ids=map(str, range(len(BAD))))
def test_what_cannot_be_used_gets_one_line(
    table: str,
    body: Any,
    kind: str,
    code: int,
    line: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answer = post(table, body, kind)
    assert answer.status_code == code
    (told,) = answer.json().values()
    assert line in told
    assert "\n" not in told
    assert "/tmp" not in told
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("POST", "/predict", {}, 411),
        ("POST", "/predict", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/predict", {"Content-Length": "-1"}, 400),
        ("POST", "/predict", {"Content-Length": "9" * 5000}, 413),
        ("POST", "/health", {"Content-Length": "0"}, 405),
        ("GET", "/predict", {}, 405),
        ("GET", "/etc/passwd", {}, 404),
        ("GET", "http://[/", {}, 400),
        ("GET", "/health", {"Host": "[::1"}, 400),
        ("GET", "/health", {"Host": "evil.example"}, 403),
        ("PUT", "/predict", {}, 501),
    ],
)
def test_odd_requests(
    table: str, method: str, path: str, headers: dict[str, str], code: int
) -> None:
    connection = http.client.HTTPConnection(table.split("/")[2], timeout=10)
    connection.putrequest(method, path, skip_host=True)
    headers = {"Host": "localhost", **headers}
    for name, text in headers.items():
        connection.putheader(name, text)
    connection.endheaders()
    connection.sock.shutdown(1)  # nothing follows
    assert connection.getresponse().status == code
    connection.close()
    assert requests.get(f"{table}health", timeout=10).ok


def test_an_image_of_the_wrong_kind(tmp_path: Path) -> None:
    save_model(tmp_path, make_model(input_shape=(6,)), {}, "1.2.3")
    with served(tmp_path) as address:
        answer = post(address, [[1, 2]], JSON)
        assert answer.status_code == 400
        assert "its rows have shape (2,), the model was trained on (6,)" in answer.text
        picture = io.BytesIO()
        Image.new("L", (3, 2)).save(picture, "png")
        answer = post(address, picture.getvalue(), "image/png")
        assert answer.status_code == 400
        assert "image.png: are images" in answer.text


def test_health(table: str, pictures: Path) -> None:
    told = requests.get(f"{table}health", timeout=10).json()
    assert told == {
        "status": "ok",
        "model": "people",
        "classes": ["no", "yes"],
        "columns": ["age", "income", "town"],
        "version": cotune.__version__,
    }
    with served(pictures) as address:
        told = requests.get(f"{address}health", timeout=10).json()
    assert (told["model"], told["shape"]) == (pictures.name, [5, 4])


@pytest.mark.parametrize("token", ["", "our own / token"])
def test_elsewhere_each_request_has_the_token(token: str) -> None:
    with served(RUN, "0.0.0.0", token) as printed:
        address, _, query = printed.replace("0.0.0.0", "127.0.0.1").partition("?")
        given = unquote_plus(query.removeprefix("token="))
        assert given == token or (not token and len(given) >= 32)
        row = people()[0]
        for wrong in ({}, {"Authorization": f"Bearer {given}x"}, {"Authorization": given}):
            assert post(address, row, JSON, **wrong).status_code == 403
            assert requests.get(address, headers=wrong, timeout=10).status_code == 403
            told = requests.get(f"{address}health", headers=wrong, timeout=10)
            assert told.json() == {"status": "ok"}
        assert rows_of(post(address, row, JSON, Authorization=f"Bearer {given}"))
        answer = requests.post(f"{address}predict?{query}", json=row, timeout=10)
        assert rows_of(answer)
        assert "columns" in requests.get(f"{address}health?{query}", timeout=10).json()


def test_the_page_fetches_nothing_from_elsewhere(table: str) -> None:
    page = requests.get(table, timeout=10)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert not re.search(r"https?://|<link|src=", page.text)
    assert not re.search("@[A-Z]+@", page.text)
    model = json.loads(page.text.split('id="model">')[1].split("</script>")[0])
    assert [(one["name"], one["kind"], one["typical"]) for one in model["fields"]] == [
        ("age", "number", 49),
        ("income", "number", 39.7),
        ("town", "category", "Bonn"),
    ]
    assert not model["takes_images"]
    assert rows_of(post(table, {one["name"]: one["typical"] for one in model["fields"]}, JSON))


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_draws_the_form_and_runs_no_foreign_script(tmp_path: Path) -> None:
    model = make_model()
    model.classes = ("</script><script>document.title='RAN'</script>", "<img src=x>", "@NONCE@")
    save_model(tmp_path / "model", model, {}, "1.2.3")
    for path, expected in ((RUN, '<option value="Kiel">'), (tmp_path / "model", "3 classes")):
        with served(path) as address:
            flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
            done = subprocess.run(
                [str(CHROMIUM), *flags, address],
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
        assert expected in done.stdout
        assert "<title>RAN" not in done.stdout
        assert "CONSOLE" not in done.stderr


@pytest.mark.parametrize(
    "stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_the_command_serves_until_it_is_stopped(stop: signal.Signals) -> None:
    line = [sys.executable, "-m", "cotune", "serve", str(RUN), "--port", "0", "--ensemble"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert process.stdout.readline() == "Ctrl-C ends it\n"
    assert len(rows_of(post(address, people(), JSON))) == 240
    process.send_signal(stop)
    assert process.communicate(timeout=30) == ("\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("folder", "options", "code", "line"),
    [
        ("killed", (), 3, "no model is there"),
        ("objective", (), 3, "no model is there"),
        ("nothing", (), 3, "no model is there"),
        ("complete", ("--max-size", "3"), 2, "max-size: '3' is no size"),
        ("complete", ("--device", "tpu"), 2, "device: 'tpu' is unknown"),
        ("complete", ("--host", "192.0.2.1", "--port", "0"), 4, "192.0.2.1:0: cannot be used"),
    ],
)
def test_what_cannot_be_served(
    folder: str,
    options: tuple[str, ...],
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", str(GOLDEN / folder), *options])
    assert end.value.code == code
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_a_damaged_model_is_not_served(tmp_path: Path) -> None:
    shutil.copytree(RUN / "best", tmp_path / "best")
    weights = tmp_path / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(cotune.ModelFileError, match="SHA-256"), served(tmp_path):
        pass
