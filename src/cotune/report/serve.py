"""A server that predicts with a run's model, and a page to try it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import numpy as np

from cotune.data.dataset import Column
from cotune.data.preprocessing.table_preprocess import NumberFeatures, TablePreprocessing
from cotune.exceptions import DataError, UsageError
from cotune.inference.predict import Predictor, predictions_of, rows_shape, run_of
from cotune.inference.request_body import TooManyRows, UnknownType, read_body
from cotune.report import server
from cotune.report.html.html_file import inert_json, read_template
from cotune.report.server import Answer, Handler, Refusal, make_page
from cotune.version import VERSION

_AT_ONCE: Final = 64  # requests whose bodies are in memory
_PATIENCE: Final = 10.0  # seconds that a further one waits
_MOST_CATEGORIES: Final = 1_000  # of a column that the page offers a choice of


@dataclass
class Served:
    """A model that is served.

    Attributes:
        name: What people call it.
        device: Where it computes.
        most_bytes: Size of a request's body.
        most_rows: Rows of a request.
    """

    name: str
    model: Predictor
    device: str = "cpu"
    most_bytes: int = 10_000_000
    most_rows: int = 10_000
    _places: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_AT_ONCE), init=False
    )
    # One at a time: PyTorch computes one on all cores, and readers set the warnings of the process.
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)

    def predict(self, handler: Handler) -> Answer:
        """Answer what the body of a request asks for.

        Raises:
            Refusal: It is too large, or cannot be used.
        """
        if not self._places.acquire(timeout=_PATIENCE):
            raise Refusal(503, f"{_AT_ONCE} requests are being answered; try again")
        try:
            content = handler.read_body(self.most_bytes)
            with self._turn:
                rows = read_body(self.model, content, handler.headers, self.most_rows)
                found = predictions_of(self.model, rows, self.device)
        except UnknownType as error:
            raise Refusal(415, str(error)) from error
        except TooManyRows as error:
            raise Refusal(413, str(error)) from error
        except (DataError, UsageError) as error:
            raise Refusal(400, " ".join(str(error).split())) from error
        finally:
            self._places.release()
        return _json(200, {"predictions": found.to_json()})

    def health(self) -> dict[str, Any]:
        """Describe the model, for programs."""
        columns = [column.name for column in self.model.preprocessing.columns]
        return {
            "status": "ok",
            "model": self.name,
            "classes": self.model.classes,
            **(
                {"columns": columns} if columns else {"shape": rows_shape(self.model.preprocessing)}
            ),
            "version": VERSION,
        }

    def description(self) -> dict[str, Any]:
        """Describe the model and its columns, for the page."""
        preprocessing = self.model.preprocessing
        parts: tuple[Any, ...] = (None,) * len(preprocessing.columns)
        if isinstance(preprocessing, TablePreprocessing):
            parts = preprocessing.parts
        return {
            **self.health(),
            "fields": list(map(_field, preprocessing.columns, parts)),
            "takes_images": not parts and _takes_images(preprocessing.input_shape),
        }


def make_server(
    served: Served, host: str, port: int, token: str = ""
) -> tuple[ThreadingHTTPServer, str]:
    """Return a server of a model, and the address to open.

    Args:
        host, port, token: As for :func:`cotune.report.server.make_server`.

    Raises:
        StorageError: The port cannot be used.
    """

    class Serving(_Handler):
        of = served

    return server.make_server(Serving, host, port, token)


def model_name(path: Path) -> str:
    """Return the name of a model: of its run's data, or of its folder."""
    run = run_of(path)
    return path.absolute().name if run is None else run.data_config().dataset.name


class _Handler(Handler):
    of: Served

    def answer(self, method: str, path: str) -> Answer:
        """Answer a request for the page, the model's state or predictions."""
        expected = {"/": "GET", "/health": "GET", "/predict": "POST"}.get(path)
        if expected is None:
            raise Refusal(404, "there are /, /health and /predict")
        if method != expected:
            raise Refusal(405, f"{path} takes {expected}")
        if path == "/predict":
            return self.of.predict(self)
        if path == "/health":
            return _json(200, self.of.health())
        described = inert_json(json.dumps(self.of.description()))
        return make_page(read_template("serve.html"), "img-src blob:", model=described)

    def public(self, method: str, path: str) -> Answer | None:
        """Tell anybody that the server lives, as the health check of a container asks."""
        is_alive = (method, path) == ("GET", "/health")
        return _json(200, {"status": "ok"}) if is_alive else None

    def error(self, code: int, line: str) -> Answer:
        """Return the answer that has one line on what is wrong, as JSON."""
        return _json(code, {"error": line})


def _json(code: int, content: dict[str, Any]) -> Answer:
    return Answer(code, "application/json", json.dumps(content) + "\n")


def _takes_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)


def _field(column: Column, part: Any) -> dict[str, Any]:
    """Describe a column, with a value that a row may have in it."""
    kind, center = column.kind, part.center if isinstance(part, NumberFeatures) else None
    typical: Any = center
    if kind == "category":
        typical = column.categories[0]
    elif center is not None and kind == "boolean":
        typical = bool(center)
    elif center is not None and column.form.startswith(("date", "time")):
        moment = str(np.datetime64(round(center), "s"))
        typical = moment[:10] if column.form.startswith("date") else moment[11:]
    elif center is not None:
        typical = int(center) if center == round(center) else center
        if column.form:
            typical = str(typical).replace(".", column.form.split("|")[2])
    return {
        "name": column.name,
        "kind": "text" if column.form else kind,
        "categories": column.categories if len(column.categories) <= _MOST_CATEGORIES else (),
        "typical": typical,
    }
