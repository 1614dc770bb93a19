"""The convolutional network: its architecture, its blocks, and one network as a module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from cotune.engine.networks.common import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    OVERHEAD,
    Architecture,
    Network,
    Tensors,
    norm_buffer_shapes,
    per_layer,
)
from cotune.records import Value


@dataclass(frozen=True)
class CNNArchitecture(Architecture):
    """Blocks of convolution, optional batch norm, ReLU and max pooling; a dense layer; a head.

    Convolutions keep height and width; pooling halves them as long as both are at least 2.

    Attributes:
        image: Height, width and channels of a row.
        filters: Filters of each block's convolution.
        kernel: Side of the convolutions' kernels, odd.
        batch_norm: Each convolution is normalised before its ReLU.
        dense: Neurons of the layer before the head; 0 for none.
        n_classes: Outputs.
    """

    image: tuple[int, int, int]
    filters: tuple[int, ...]
    kernel: int
    batch_norm: bool
    dense: int
    n_classes: int

    @classmethod
    def from_params(
        cls, params: Mapping[str, Value], image: tuple[int, int, int], n_classes: int
    ) -> CNNArchitecture:
        """Return the architecture for ``n_blocks``, ``filters`` (or ``filters_0``..) and so on."""
        blocks = range(int(params["n_blocks"]))
        return cls(
            image=image,
            filters=tuple(int(per_layer(params, "filters", i)) for i in blocks),
            kernel=int(params["kernel_size"]),
            batch_norm=bool(params["batch_norm"]),
            dense=int(params["dense_width"]),
            n_classes=n_classes,
        )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        height, width, channels = self.image
        return height * width * channels

    @property
    def pools(self) -> tuple[bool, ...]:
        """For each block, True where it pools."""
        height, width, _ = self.image
        pools = []
        for _ in self.filters:
            pools.append(height >= 2 and width >= 2)
            if pools[-1]:
                height, width = height // 2, width // 2
        return tuple(pools)

    @property
    def features(self) -> int:
        """Values that the blocks give to the dense layer."""
        height, width, _ = self.image
        for _ in range(sum(self.pools)):
            height, width = height // 2, width // 2
        return height * width * self.filters[-1]

    @property
    def pixels(self) -> int:
        """Values that all convolutions together give out for one row."""
        height, width, _ = self.image
        pixels = 0
        for filters, pools in zip(self.filters, self.pools, strict=True):
            pixels += height * width * filters
            if pools:
                height, width = height // 2, width // 2
        return pixels

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        channels = self.image[2]
        for i, filters in enumerate(self.filters):
            shapes[f"conv.{i}.weight"] = (filters, channels, self.kernel, self.kernel)
            if self.batch_norm:
                shapes[f"norm.{i}.weight"] = (filters,)
            shapes[f"norm.{i}.bias" if self.batch_norm else f"conv.{i}.bias"] = (filters,)
            channels = filters
        fan_in = self.features
        if self.dense:
            shapes["dense.weight"] = (self.dense, fan_in)
            shapes["dense.bias"] = (self.dense,)
            fan_in = self.dense
        shapes["head.weight"] = (self.n_classes, fan_in)
        shapes["head.bias"] = (self.n_classes,)
        return shapes

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return norm_buffer_shapes(self.filters) if self.batch_norm else {}

    @property
    def work(self) -> int:
        height, width, _ = self.image
        work, blocks = OVERHEAD, iter(self.pools)
        for size in self.parameter_shapes().values():
            if len(size) == 4:
                work += math.prod(size) * height * width
                if next(blocks):
                    height, width = height // 2, width // 2
            else:
                work += math.prod(size)
        return work

    def module(self, dropout: Sequence[float]) -> CNN:
        return CNN(self, dropout)


def forward(
    architecture: CNNArchitecture, tensors: Tensors, rows: Tensor, training: bool
) -> Tensor:
    """Return the outputs of the blocks, ``[batch, features]``.

    Args:
        tensors: Parameters and buffers; the buffers are updated in place while training.
        rows: ``[batch, height * width * channels]``, channels last.
    """
    # Rows lie in memory as PyTorch's channels-last format, in which convolutions are faster.
    images = rows.view(-1, *architecture.image).permute(0, 3, 1, 2)
    for i, pools in enumerate(architecture.pools):
        images = F.conv2d(
            images,
            tensors[f"conv.{i}.weight"],
            tensors.get(f"conv.{i}.bias"),
            padding=architecture.kernel // 2,
        )
        if architecture.batch_norm:
            images = F.batch_norm(
                images,
                tensors[f"norm.{i}.running_mean"],
                tensors[f"norm.{i}.running_var"],
                tensors[f"norm.{i}.weight"],
                tensors[f"norm.{i}.bias"],
                training=training,
                momentum=BATCH_NORM_MOMENTUM,
                eps=BATCH_NORM_EPS,
            )
        if pools:
            # ReLU and max pooling commute; pooled first, ReLU has a quarter of the values.
            images = F.max_pool2d(images, 2)
        images = F.relu(images)
    return images.permute(0, 2, 3, 1).flatten(1)


def dropout_rates(params: Mapping[str, Value]) -> list[float]:
    """Return the one rate of dropout, before the head, 0-1."""
    return [float(params.get("dropout", 0.0))]


class CNN(Network):
    """One convolutional network as an ordinary module.

    Args:
        architecture: All but the weights and rates.
        dropout: One rate, 0-1: that before the head.
    """

    def __init__(self, architecture: CNNArchitecture, dropout: Sequence[float]) -> None:
        super().__init__()
        self.architecture = architecture
        self.conv = nn.ModuleList()
        self.norm = nn.ModuleList()
        channels = architecture.image[2]
        for filters in architecture.filters:
            self.conv.append(
                nn.Conv2d(
                    channels,
                    filters,
                    architecture.kernel,
                    padding=architecture.kernel // 2,
                    bias=not architecture.batch_norm,
                )
            )
            if architecture.batch_norm:
                self.norm.append(
                    nn.BatchNorm2d(filters, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
                )
            channels = filters
        fan_in = architecture.features
        self.dense = nn.Linear(fan_in, architecture.dense) if architecture.dense else nn.Identity()
        self.dropout = nn.ModuleList(nn.Dropout(rate) for rate in dropout)
        self.head = nn.Linear(architecture.dense or fan_in, architecture.n_classes)

    def describe(self) -> dict[str, Any]:
        rates = [layer.p for layer in self.dropout]
        return {"family": "cnn", **asdict(self.architecture), "dropout": rates}

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, height * width * channels]`` -> logits ``[batch, n_classes]``."""
        images = rows.view(-1, *self.architecture.image).permute(0, 3, 1, 2)
        for i, pools in enumerate(self.architecture.pools):
            images = self.conv[i](images)
            if self.architecture.batch_norm:
                images = self.norm[i](images)
            images = F.relu(images)
            if pools:
                images = F.max_pool2d(images, 2)
        hidden = images.permute(0, 2, 3, 1).flatten(1)
        if self.architecture.dense:
            hidden = F.relu(self.dense(hidden))
        for layer in self.dropout:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden)
        return logits
