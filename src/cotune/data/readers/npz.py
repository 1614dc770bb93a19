"""NPZ files: NumPy arrays in a zip archive. Nothing is unpickled or written to the disk."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cotune.data.readers.files import open_regular
from cotune.data.readers.named_arrays import Arrays, NamedArrays
from cotune.data.readers.npy import check_header, read_values
from cotune.data.readers.reader import Array
from cotune.exceptions import DataError
from cotune.text import shown_key

_MAX_DEFLATE_RATIO = 1032  # no deflate stream expands a byte further
_MAX_UNPACKED = 2 * 2**30  # bytes; a larger array has to be stored as it is


class NpzFile(NamedArrays):
    """An NPZ file."""

    suffixes = (".npz",)

    @contextmanager
    def open(self, path: Path) -> Iterator[Arrays]:
        """Open the file; within it, its arrays can be read by name.

        Each array's header is compared with the bytes that the archive has for it, before memory
        is taken.

        Raises:
            DataError: It is no NPZ file, is damaged, or an array has objects or asks for more
                bytes than there can be.
        """
        with open_regular(path, "an NPZ file") as file, _unzipping(path):
            size = os.fstat(file.fileno()).st_size
            archive = zipfile.ZipFile(file)
            yield {
                info.filename.removesuffix(".npy"): partial(_read_member, archive, info, path, size)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }


@contextmanager
def _unzipping(path: Path) -> Iterator[None]:
    """Turn the errors of ``zipfile`` on a damaged file into DataErrors."""
    try:
        yield
    except DataError:
        raise
    # An encrypted or oddly packed member is a RuntimeError or NotImplementedError.
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError),
        *(ValueError, struct.error, UnicodeError, OverflowError, IndexError),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: is no NPZ file, or a damaged one ({reason[:80]})") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, size: int) -> Array:
    """Read one array of an NPZ file of ``size`` bytes, once its header fits what is packed."""
    what = f"{path}: {shown_key(info.filename.removesuffix('.npy'))}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{what}: is packed in an unusual way; save it with numpy.savez")
    packed = info.compress_type == zipfile.ZIP_DEFLATED
    room = min(info.compress_size, size) * (_MAX_DEFLATE_RATIO if packed else 1)
    if info.file_size > room:
        raise DataError(
            f"{what}: is said to have {info.file_size:,} bytes, where the file has room for "
            f"{room:,}; fetch it again"
        )
    with archive.open(info) as file:
        expected = check_header(file, info.file_size, what)
    if packed and expected > _MAX_UNPACKED:
        raise DataError(
            f"{what}: has {expected:,} bytes, more than is unpacked in memory; save it with "
            "numpy.save"
        )
    with archive.open(info) as file:
        return read_values(file, what)  # zipfile compares the checksum
