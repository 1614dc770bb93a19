"""Download of a file from the first of its mirrors that has it, whole and checked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from cotune.exceptions import CotuneError, DataError, StorageError

CONNECT_SECONDS = 10.0
"""How long one address of a server may take to accept a connection."""

READ_SECONDS = 30.0
"""How long a server may stay silent."""

_ROUNDS = 3  # tries per mirror
_PAUSE = 0.5  # seconds before the second round, twice that before the third
_CHUNK = 2**16


class _FailedError(Exception):
    """One try at one mirror failed. ``again``: worth another; ``wrong``: it sent other contents."""

    def __init__(self, reason: str, *, again: bool = False, wrong: bool = False) -> None:
        super().__init__(reason)
        self.again = again
        self.wrong = wrong


def cache_folder() -> Path:
    """Return the folder of this user's downloads, with a subfolder for each dataset."""
    import pooch

    return Path(pooch.os_cache("cotune"))


def fetch(
    name: str,
    mirrors: Sequence[str],
    folder: Path,
    *,
    size: int,
    md5: str,
    advice: str = "check the network",
) -> Path:
    """Download ``name`` into ``folder``, unless the whole file is there already.

    The file is written under a temporary name and moved once its size and checksum are right, so
    ``folder / name`` is never half a file. Every mirror is tried in turn, up to three times where
    another try may help. An unreachable mirror costs ``CONNECT_SECONDS`` for each of its
    addresses, once. A bar on stderr, or one line where that is no terminal, tells of the download.

    Args:
        name: The file's name, here and on the mirrors.
        mirrors: Addresses of folders that hold the file.
        folder: Created where it does not exist.
        size: Bytes of the whole file; no more are ever accepted.
        md5: Its checksum, hexadecimal.
        advice: Ends the error's message: what to do when nothing works.

    Raises:
        StorageError: No mirror could be reached or had the file, or the folder cannot be written.
        DataError: What a mirror sent is not the file.
    """
    urls = [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors]
    failures: dict[str, _FailedError] = {}
    for attempt in range(_ROUNDS):
        if attempt and any(failure.again for failure in failures.values()):
            time.sleep(_PAUSE * attempt)
        for url in urls:
            if url in failures and not failures[url].again:
                continue
            try:
                return _fetch_once(url, folder / name, size, md5)
            except _FailedError as failure:
                failures[url] = failure
    kind: type[CotuneError] = StorageError
    if any(failure.wrong for failure in failures.values()):
        kind = DataError
    tried = "; ".join(f"{url}: {failure}" for url, failure in failures.items())
    raise kind(f"{name} could not be downloaded ({tried}); {advice}")


def _fetch_once(url: str, path: Path, size: int, md5: str) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")

    def download(url: str, file: str, _: object) -> None:
        with open(file, "wb") as out:
            _stream(url, out, size)

    try:
        pooch.retrieve(url, f"md5:{md5}", path.name, path.parent, downloader=download)
    except ValueError:
        raise _FailedError(f"the MD5 of what it sends is not {md5}", wrong=True) from None
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or make "
            "the folder writable"
        ) from error
    return path


def _stream(url: str, out: IO[bytes], size: int) -> None:
    """Write the body of ``url`` to ``out``; ``_FailedError`` unless it has ``size`` bytes."""
    import requests

    received = 0
    try:
        with requests.get(
            url,
            stream=True,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            headers={"Accept-Encoding": "identity"},  # the .gz file itself, not its contents
        ) as response:
            if response.status_code != requests.codes.ok:
                raise _FailedError(
                    f"HTTP {response.status_code} {response.reason}",
                    again=response.status_code >= 500 or response.status_code in (408, 429),
                )
            with _progress(url, size) as advance:
                for chunk in response.iter_content(_CHUNK):
                    received += len(chunk)
                    if received > size:
                        raise _FailedError(f"sends more than {size:,} bytes", wrong=True)
                    out.write(chunk)
                    advance(len(chunk))
    except requests.RequestException as error:
        raise _connection_failed(error, size) from error
    if received < size:
        raise _FailedError(f"ended after {received:,} of {size:,} bytes", again=True)


def _connection_failed(error: Exception, size: int) -> _FailedError:
    import requests
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    if isinstance(error, requests.ConnectTimeout):
        return _FailedError(f"no connection within {CONNECT_SECONDS:g} s")
    if isinstance(error, requests.Timeout):
        return _FailedError(f"silent for {READ_SECONDS:g} s", again=True)
    cause: Any = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return _FailedError("the host's address was not found")
    if isinstance(cause, NewConnectionError):
        reason = getattr(cause.__cause__ or cause.__context__, "strerror", None)
        return _FailedError(str(reason or "no connection").lower())
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return _FailedError(f"broke off before all {size:,} bytes had come", again=True)
    if isinstance(error, requests.ConnectionError):
        return _FailedError("the connection was cut", again=True)
    return _FailedError(str(error))


@contextmanager
def _progress(url: str, size: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of bytes that arrived."""
    name = os.path.basename(urlsplit(url).path)
    if not sys.stderr.isatty():
        host = urlsplit(url).hostname
        sys.stderr.write(f"downloading {name} ({size / 1e6:.1f} MB) from {host}\n")
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=size)
        yield lambda count: bar.advance(task, count)
