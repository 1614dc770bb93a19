"""The same labelled images in every format, each with its rows in an order of its own."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

Images = NDArray[np.uint8]


def digits(count: int = 600) -> tuple[Images, NDArray[np.int64]]:
    """Scikit-learn's digits in grey levels of 0 to 255."""
    bunch = load_digits()
    return (bunch.images[:count] * 255 / 16).round().astype(np.uint8), bunch.target[:count]


def idx(array: NDArray[np.uint8]) -> bytes:
    """The contents of an IDX file."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(folder: Path, part: str, images: Images, labels: NDArray[np.int64]) -> None:
    """As MNIST's files, the labels gzipped."""
    folder.mkdir(exist_ok=True)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
    packed = gzip.compress(idx(labels.astype(np.uint8)))
    (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(packed)


def write_pngs(folder: Path, images: Images, labels: NDArray[np.int64]) -> None:
    """``FOLDER/LABEL/NUMBER.png``."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{number}.png")


def write_all(folder: Path, images: Images, labels: NDArray[np.int64]) -> dict[str, Path]:
    """Write the images in every format; what to give to Cotune, by format."""
    generator = np.random.default_rng(0)

    def shuffled() -> tuple[Images, NDArray[np.int64]]:
        order = generator.permutation(len(labels))
        return images[order], labels[order]

    def table() -> pd.DataFrame:
        rows, of_rows = shuffled()
        frame = pd.DataFrame(rows.reshape(len(rows), -1)).rename(columns="pixel{}".format)
        frame.insert(0, "label", of_rows)
        return frame

    paths = {
        "csv": folder / "digits.csv",
        "parquet": folder / "digits.parquet",
        "npz": folder / "digits.npz",
        "npy": folder / "npy" / "X.npy",
        "idx": folder / "idx",
        "png": folder / "png",
    }
    table().to_csv(paths["csv"], index=False)
    table().to_parquet(paths["parquet"], index=False)
    rows, of_rows = shuffled()
    np.savez_compressed(paths["npz"], images=rows, labels=of_rows.astype(str))
    paths["npy"].parent.mkdir()
    rows, of_rows = shuffled()
    np.save(paths["npy"], rows)
    np.save(folder / "npy" / "y.npy", of_rows.astype(np.float32)[:, None])
    write_idx(paths["idx"], "train", *shuffled())
    write_pngs(paths["png"], *shuffled())
    return paths
