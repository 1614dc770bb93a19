"""Damaged bytes of any kind of file are refused in one line."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cotune.data.readers.image_tree import is_image
from cotune.data.reading import read_data
from cotune.exceptions import DataError
from tests.support.formats import digits, idx

IMAGES, LABELS = digits()


def image_bytes(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(file, kind)
    return file.getvalue()


def npy_bytes(save: Callable[..., None], **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays.values()) if save is np.save else save(file, **arrays)
    return file.getvalue()


HEALTHY = {
    "x.png": image_bytes("PNG"),
    "x.jpg": image_bytes("JPEG"),
    "x.gif": image_bytes("GIF"),
    "x.bmp": image_bytes("BMP"),
    "x.webp": image_bytes("WEBP"),
    "x.tif": image_bytes("TIFF"),
    "x.npy": npy_bytes(np.save, X=IMAGES[:9]),
    "stored.npz": npy_bytes(np.savez, X=IMAGES[:9], y=LABELS[:9] % 2),
    "packed.npz": npy_bytes(np.savez_compressed, X=IMAGES[:9], y=LABELS[:9] % 2),
    "images-idx3-ubyte": idx(IMAGES[:9]),
    "images-idx3-ubyte.gz": gzip.compress(idx(IMAGES[:9])),
}


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(list(HEALTHY)),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3)), max_size=3
    ),
    end=st.floats(0.1, 1) | st.just(1),
)
def test_damaged_bytes(name, changes, end, tmp_path):
    """What was a file is one still, or an error of Cotune's says what is wrong; no traceback."""
    content = bytearray(HEALTHY[name])
    for place, new in changes:
        at = int(place * len(content))
        content[at : at + 1] = new
    folder = tmp_path / "class"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    np.save(folder / "y.npy", LABELS[:9] % 2)
    (folder / "labels-idx1-ubyte").write_bytes(idx((LABELS[:9] % 2).astype(np.uint8)))
    (folder / name).write_bytes(content[: int(end * len(content))])
    with contextlib.suppress(DataError):
        read_data(tmp_path if is_image(Path(name)) else folder / name)
