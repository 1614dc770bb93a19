"""The convolutional network: its architecture, its blocks, and one network as a module."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import torch
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
from cotune.space.hyperparameters import ACTIVATIONS, DOWNSAMPLINGS, HEADS

_ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = dict(
    zip(ACTIVATIONS, (F.relu, F.gelu, F.silu), strict=True)
)
_POOLING, _STRIDES = DOWNSAMPLINGS
_FLATTEN, _MEAN, _MAX = HEADS


@dataclass(frozen=True)
class Convolution:
    """A convolution of a network, and the image that it is given.

    Attributes:
        channels, height, width: Of its input.
        filters: Its outputs.
        stride: 2 where it leaves out every second pixel, else 1.
        is_pooled: The largest of four pixels is taken after it.
        is_residual: Its input is added to its output.
    """

    channels: int
    height: int
    width: int
    filters: int
    stride: int
    is_pooled: bool
    is_residual: bool

    @property
    def given(self) -> tuple[int, int]:
        """Height and width of its output, before pooling."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    @property
    def left(self) -> tuple[int, int]:
        """Height and width after pooling."""
        height, width = self.given
        return (height // 2, width // 2) if self.is_pooled else (height, width)


@dataclass(frozen=True)
class CNNArchitecture(Architecture):
    """Blocks of convolutions, each with optional batch norm and an activation; then a head.

    The first convolution of a block halves height and width as long as both are at least 2.
    The others of a block keep the shape, and may be residual: their input is added before the
    activation (He et al. 2016).

    Attributes:
        image: Height, width and channels of a row.
        filters: Filters of the convolutions of each block.
        kernel: Side of the convolutions' kernels, odd.
        batch_norm: Each convolution is normalised before its activation.
        dense: Neurons of the layer before the last; 0 for none.
        n_classes: Outputs.
        convolutions: Convolutions of each block; one each where it is empty.
        residual: Whether all but the first of a block are residual.
        downsampling: ``pool`` takes the largest of four pixels (rounded down), ``stride`` lets the
            convolution leave out every second pixel (rounded up).
        activation: ``relu``, ``gelu`` or ``silu``.
        head: What becomes of the last image: ``flatten`` keeps all pixels, ``mean`` and ``max``
            keep one number a filter.
        mirrored: Predictions average the logits of the image and of its mirror image.
    """

    image: tuple[int, int, int]
    filters: tuple[int, ...]
    kernel: int
    batch_norm: bool
    dense: int
    n_classes: int
    convolutions: tuple[int, ...] = ()
    residual: bool = False
    downsampling: str = _POOLING
    activation: str = ACTIVATIONS[0]
    head: str = _FLATTEN
    mirrored: bool = False

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
            convolutions=tuple(int(per_layer(params, "convolutions", i, 1)) for i in blocks),
            residual=bool(params.get("residual", False)),
            downsampling=str(params.get("downsampling", _POOLING)),
            activation=str(params.get("activation", ACTIVATIONS[0])),
            head=str(params.get("head", _FLATTEN)),
            mirrored=bool(params.get("mirrored", False)),
        )

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        height, width, channels = self.image
        return height * width * channels

    @cached_property
    def layers(self) -> tuple[Convolution, ...]:
        """All convolutions, from the image to the head."""
        height, width, channels = self.image
        layers: list[Convolution] = []
        strides = self.downsampling == _STRIDES
        for block, filters in enumerate(self.filters):
            for place in range(self.convolutions[block] if self.convolutions else 1):
                halves = place == 0 and height >= 2 and width >= 2
                layer = Convolution(
                    channels,
                    height,
                    width,
                    filters,
                    stride=2 if halves and strides else 1,
                    is_pooled=halves and not strides,
                    is_residual=place > 0 and self.residual,
                )
                layers.append(layer)
                channels, (height, width) = filters, layer.left
        return tuple(layers)

    def images_of(self, rows: Tensor) -> Tensor:
        """``[batch, height * width * channels]`` -> ``[batch, channels, height, width]``.

        Rows lie in memory as PyTorch's channels-last format, in which convolutions are faster.
        """
        return rows.view(-1, *self.image).permute(0, 3, 1, 2)

    @property
    def features(self) -> int:
        """Values that the blocks give to the layers after them."""
        last = self.layers[-1]
        if self.head != _FLATTEN:
            return last.filters
        return math.prod(last.left) * last.filters

    @property
    def pixels(self) -> int:
        """Values that all convolutions together give out for one row."""
        return sum(math.prod(layer.given) * layer.filters for layer in self.layers)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.layers):
            shapes[f"conv.{i}.weight"] = (layer.filters, layer.channels, self.kernel, self.kernel)
            if self.batch_norm:
                shapes[f"norm.{i}.weight"] = (layer.filters,)
            shapes[f"norm.{i}.bias" if self.batch_norm else f"conv.{i}.bias"] = (layer.filters,)
        fan_in = self.features
        if self.dense:
            shapes["dense.weight"] = (self.dense, fan_in)
            shapes["dense.bias"] = (self.dense,)
            fan_in = self.dense
        shapes["head.weight"] = (self.n_classes, fan_in)
        shapes["head.bias"] = (self.n_classes,)
        return shapes

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        widths = [layer.filters for layer in self.layers]
        return norm_buffer_shapes(widths) if self.batch_norm else {}

    def start(self, seed: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensors, Tensors]:
        """Return fresh tensors; a residual convolution adds nothing yet (Goyal et al. 2017)."""
        parameters, buffers = super().start(seed, device, dtype)
        last = "norm" if self.batch_norm else "conv"
        for i, layer in enumerate(self.layers):
            if layer.is_residual:
                parameters[f"{last}.{i}.weight"].zero_()
        return parameters, buffers

    @property
    def work(self) -> int:
        sizes = self.parameter_shapes()
        products = sum(
            math.prod(sizes[f"conv.{i}.weight"]) * math.prod(layer.given)
            for i, layer in enumerate(self.layers)
        )
        others = (math.prod(size) for size in sizes.values() if len(size) != 4)
        return OVERHEAD + products + sum(others)

    def module(self, dropout: Sequence[float]) -> CNN:
        return CNN(self, dropout)


def forward(
    architecture: CNNArchitecture, tensors: Tensors, rows: Tensor, training: bool
) -> Tensor:
    """Return what the head makes of the last image, ``[batch, features]``.

    Args:
        tensors: Parameters and buffers; the buffers are updated in place while training.
        rows: ``[batch, height * width * channels]``, channels last.
    """
    images = architecture.images_of(rows)
    for i, layer in enumerate(architecture.layers):
        made = F.conv2d(
            images,
            tensors[f"conv.{i}.weight"],
            tensors.get(f"conv.{i}.bias"),
            stride=layer.stride,
            padding=architecture.kernel // 2,
        )
        if architecture.batch_norm:
            made = F.batch_norm(
                made,
                tensors[f"norm.{i}.running_mean"],
                tensors[f"norm.{i}.running_var"],
                tensors[f"norm.{i}.weight"],
                tensors[f"norm.{i}.bias"],
                training=training,
                momentum=BATCH_NORM_MOMENTUM,
                eps=BATCH_NORM_EPS,
            )
        if layer.is_pooled:
            # Pooled first, the activation has a quarter of the values; ReLU and pooling commute.
            made = F.max_pool2d(made, 2)
        images = activate(architecture, images + made if layer.is_residual else made)
    return _features(images, architecture.head)


def _features(images: Tensor, head: str) -> Tensor:
    """``[batch, filters, height, width]`` -> ``[batch, features]``."""
    if head == _FLATTEN:
        return images.permute(0, 2, 3, 1).flatten(1)
    return images.mean((2, 3)) if head == _MEAN else images.amax((2, 3))


def activate(architecture: CNNArchitecture, values: Tensor) -> Tensor:
    """Apply the network's activation."""
    return _ACTIVATIONS[architecture.activation](values)


def mirror(architecture: CNNArchitecture, rows: Tensor) -> Tensor:
    """Exchange left and right of images, ``[batch, height * width * channels]``."""
    return rows.view(-1, *architecture.image).flip(2).view(rows.shape)


def dropout_rates(params: Mapping[str, Value]) -> list[float]:
    """Return the one rate of dropout, before the last layer, 0-1."""
    return [float(params.get("dropout", 0.0))]


class CNN(Network):
    """One convolutional network as an ordinary module.

    Args:
        architecture: All but the weights and rates.
        dropout: One rate, 0-1: that before the last layer.
    """

    def __init__(self, architecture: CNNArchitecture, dropout: Sequence[float]) -> None:
        super().__init__()
        self.architecture = architecture
        self.conv = nn.ModuleList(
            nn.Conv2d(
                layer.channels,
                layer.filters,
                architecture.kernel,
                stride=layer.stride,
                padding=architecture.kernel // 2,
                bias=not architecture.batch_norm,
            )
            for layer in architecture.layers
        )
        self.norm = nn.ModuleList(
            nn.BatchNorm2d(layer.filters, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
            if architecture.batch_norm
            else nn.Identity()
            for layer in architecture.layers
        )
        fan_in = architecture.features
        self.dense = nn.Linear(fan_in, architecture.dense) if architecture.dense else nn.Identity()
        self.dropout = nn.ModuleList(nn.Dropout(rate) for rate in dropout)
        self.head = nn.Linear(architecture.dense or fan_in, architecture.n_classes)

    def describe(self) -> dict[str, Any]:
        rates = [layer.p for layer in self.dropout]
        return {"family": "cnn", **asdict(self.architecture), "dropout": rates}

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, height * width * channels]`` -> logits ``[batch, n_classes]``."""
        if self.architecture.mirrored and not self.training:
            return (self._logits(rows) + self._logits(mirror(self.architecture, rows))) / 2
        return self._logits(rows)

    def _logits(self, rows: Tensor) -> Tensor:
        architecture = self.architecture
        images = architecture.images_of(rows)
        for i, shape in enumerate(architecture.layers):
            made = self.norm[i](self.conv[i](images))
            if shape.is_pooled:
                made = F.max_pool2d(made, 2)
            images = activate(architecture, images + made if shape.is_residual else made)
        hidden = _features(images, architecture.head)
        if architecture.dense:
            hidden = activate(architecture, self.dense(hidden))
        for layer in self.dropout:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden)
        return logits
