"""One network, trained the plain way: ``nn.Sequential``, ``torch.optim``, a loop over minibatches.

Slow and easy to check by eye. It shares no code with the engine, whose lanes must come to the same
weights; the rules that both follow are stated here a second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from cotune.data.dataset import TrainingData
from cotune.records import Part, Value


@dataclass(frozen=True)
class ReferenceEpoch:
    """Where the network stood after an epoch.

    Attributes:
        train_loss: Mean cross-entropy over the minibatches, labels smoothed, classes weighted.
        train_accuracy: Share of those rows classified right, 0-1.
        scores: ``loss``, ``accuracy``, ``f1`` and ``balanced-accuracy`` on the validation part,
            by scikit-learn; empty when there is none.
        weights: Parameters and batch-norm statistics, in the engine's names.
    """

    train_loss: float
    train_accuracy: float
    scores: dict[str, float]
    weights: dict[str, Tensor]


def train_reference(
    params: Mapping[str, Value],
    weights: Mapping[str, Tensor | NDArray[np.generic]],
    data: TrainingData,
    seed: int,
    epochs: int,
    part: Part = "train",
    dtype: torch.dtype = torch.float32,
) -> list[ReferenceEpoch]:
    """Train one trial.

    Args:
        params: As in ``TrialSpec``. Dropout is PyTorch's own, so it is comparable at rate 0 only.
        weights: What to start from, in the engine's names.
        seed: The run's seed.

    Returns:
        One for each epoch.
    """
    if params.get("model", "mlp") == "cnn":
        network, names = _build_cnn(params, data.input_shape, data.n_classes)
    else:
        network, names = _build_mlp(params, data.inputs.shape[1], data.n_classes)
    network.to(dtype)
    with torch.no_grad():
        state = network.state_dict()
        for name, own_name in names.items():
            state[own_name].copy_(torch.as_tensor(weights[name]))
    optimizer = _optimizer(params, network)
    inputs = torch.from_numpy(data.inputs).to(dtype)
    labels = torch.from_numpy(data.labels)
    n_rows = data.n_train if part == "train" else len(labels)
    batch_size = min(int(params["batch_size"]), n_rows)
    n_steps = n_rows // batch_size
    loss_of = nn.CrossEntropyLoss(
        _class_weights(params, labels[:n_rows], data.n_classes, dtype),
        label_smoothing=float(params.get("label_smoothing", 0.0)),
    )
    clip_norm = float(params.get("clip_norm", 0.0))
    shift, erase = int(params.get("shift", 0)), float(params.get("erase", 0.0))
    base, schedule = float(params["lr"]), str(params.get("schedule", "constant"))
    warm_steps = float(params.get("warmup", 0.0)) * n_steps
    # Its rate is what the losses have made of 1.
    stand_in = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        stand_in,
        factor=float(params.get("plateau_factor", 0.1)),
        patience=int(params.get("plateau_patience", 5)),
    )
    done: list[ReferenceEpoch] = []
    for epoch in range(epochs):
        network.train()
        losses: list[float] = []
        hits = 0
        order = _order(n_rows, seed, epoch)
        drawn, rectangles = _draw_moves(order[: n_steps * batch_size], shift, erase, seed, epoch)
        if params.get("flip"):
            coins = torch.Generator().manual_seed(seed ^ 0x636F696E)
            coin = torch.randint(0, 2, (len(labels),), generator=coins)
            # Heads in one epoch, tails in the next.
            drawn = [
                (down, right, int(coin[row] + epoch) % 2)
                for (down, right, _), row in zip(drawn, order, strict=False)
            ]
        # Only whole minibatches; the rows that are left over wait for another epoch.
        for i in range(n_steps):
            batch = slice(i * batch_size, (i + 1) * batch_size)
            rows = order[batch]
            seen = _move(inputs[rows], drawn[batch], shift, data.input_shape)
            if erase:
                seen = _erase(seen, rectangles[batch], data.input_shape)
            logits = network(seen)
            loss = loss_of(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            if clip_norm:
                nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
            step = epoch * n_steps + i
            factor = _factor(schedule, step, n_steps * int(params["epochs"]))
            if step + 1 < warm_steps:
                factor *= (step + 1) / warm_steps
            for group in optimizer.param_groups:
                group["lr"] = base * factor * stand_in.param_groups[0]["lr"]
            optimizer.step()
            losses.append(loss.item())
            hits += int((logits.argmax(1) == labels[rows]).sum())
        state = network.state_dict()
        done.append(
            ReferenceEpoch(
                train_loss=sum(losses) / len(losses),
                train_accuracy=hits / (len(losses) * batch_size),
                scores=_scores(network, inputs, labels, data) if part == "train" else {},
                weights={name: state[own_name].clone() for name, own_name in names.items()},
            )
        )
        if schedule == "plateau":
            plateau.step(done[-1].scores.get("loss", done[-1].train_loss))
    return done


def _order(n_rows: int, seed: int, epoch: int) -> Tensor:
    """The rule: a permutation that depends on (seed, epoch) alone, epochs counted from 0."""
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


def _class_weights(
    params: Mapping[str, Value], labels: Tensor, n_classes: int, dtype: torch.dtype
) -> Tensor | None:
    """The rule: scikit-learn's balanced weights of the rows trained on, to a power."""
    exponent = float(params.get("class_weight", 0.0))
    if exponent == 0.0:
        return None
    weights = compute_class_weight("balanced", classes=np.arange(n_classes), y=labels.numpy())
    return torch.from_numpy(weights**exponent).to(dtype)


def _draw_moves(
    order: Tensor, shift: int, erase: float, seed: int, epoch: int
) -> tuple[list[tuple[int, int, int]], list[list[float]]]:
    """The rule: down and right of all rows, then four numbers 0-1 a row, of (seed, epoch) alone."""
    n_rows = len(order)
    generator = torch.Generator().manual_seed((1_000_003 * seed + epoch) ^ 0x61756774)
    moves = torch.randint(-shift, shift + 1, (n_rows, 2), generator=generator)
    drawn = [(down, right, 0) for down, right in moves.tolist()]
    if not erase:
        return drawn, []
    numbers = torch.rand(n_rows, 4, generator=generator, dtype=torch.float64)
    return drawn, [_rectangle(erase, *row) for row in numbers.tolist()]


def _rectangle(erase: float, area: float, ratio: float, top: float, left: float) -> list[float]:
    """Top, bottom, left and right as shares of the image, rounded to 65,536ths.

    The rule: an area up to ``erase``, a ratio of height to width from 3/10 to 10/3, no side above
    1, and a place where all of it is inside.
    """
    slope = 0.3 * (1 / 0.3 / 0.3) ** ratio
    height = min(1.0, math.sqrt(erase * area * slope))
    width = min(1.0, math.sqrt(erase * area / slope))
    top, left = top * (1 - height), left * (1 - width)
    return [round(edge * 65_536) / 65_536 for edge in (top, top + height, left, left + width)]


def _erase(rows: Tensor, rectangles: list[list[float]], shape: tuple[int, ...]) -> Tensor:
    """0 in all pixels whose centres are inside."""
    height, width = shape[:2]
    erased = rows.clone()
    for row, (top, bottom, left, right) in zip(erased, rectangles, strict=True):
        image = row.view(height, width, -1)
        for y in range(height):
            for x in range(width):
                if top <= (y + 0.5) / height < bottom and left <= (x + 0.5) / width < right:
                    image[y, x] = 0.0
    return erased


def _move(
    rows: Tensor, moves: list[tuple[int, int, int]], shift: int, shape: tuple[int, ...]
) -> Tensor:
    """Each image flipped, padded by copies of its edge, and cut out again elsewhere."""
    if len(shape) == 1:
        return rows
    height, width = shape[:2]
    moved = []
    for row, (down, right, flipped) in zip(rows.numpy(), moves, strict=True):
        image = row.reshape(height, width, -1)
        if flipped:
            image = np.fliplr(image)
        padded = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="edge")
        top, left = shift - down, shift - right
        moved.append(padded[top : top + height, left : left + width].ravel())
    return torch.from_numpy(np.stack(moved))


def _factor(schedule: str, step: int, total: int) -> float:
    """The rules, for steps counted from 0.

    cooldown: 1 up to four fifths of the steps, then 1 - sqrt(how much of the last fifth is over).
    linear: up a line in the first fifth of the steps, to 1 at its last, then down one to 0.
    cosine: half a cosine from 1 at step 0 to 0 at step ``total``. one-cycle: half a cosine from
    1/25 at step 0 to 1 at three tenths of the steps, then half a cosine to 0 at step ``total``.
    """
    if schedule in ("constant", "plateau"):
        return 1.0
    if schedule == "cooldown":
        over = step - 4 / 5 * total
        return 1.0 if over <= 0 else 1.0 - (over / (1 / 5 * total)) ** (1 / 2)
    if schedule == "linear":
        return min((step + 1) / (total / 5), (total - step) / (total * 4 / 5), 1.0)
    if schedule == "cosine":
        return math.cos(math.pi * step / total) / 2 + 1 / 2
    top = 3 / 10 * total
    if step < top:
        middle, half = (1 + 1 / 25) / 2, (1 - 1 / 25) / 2
        return middle - half * math.cos(math.pi * step / top)
    return math.cos(math.pi * (step - top) / (total - top)) / 2 + 1 / 2


class _Residual(nn.Module):
    """Adds its input to what the layers inside make of it."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = images + self.inside(images)
        return made


class _Layers:
    """Layers, and the engine's name of each of their tensors -> the name in ``nn.Sequential``."""

    def __init__(self) -> None:
        self.layers: list[nn.Module] = []
        self.names: dict[str, str] = {}

    def add(self, layer: nn.Module, engine_name: str = "") -> None:
        for name in layer.state_dict():
            if name != "num_batches_tracked":  # the engine has no use for it
                self.names[f"{engine_name}.{name}"] = f"{len(self.layers)}.{name}"
        self.layers.append(layer)

    def add_all(self, others: _Layers, residual: bool) -> None:
        """Add others as one layer, which may add its input to its output."""
        inside = nn.Sequential(*others.layers)
        place = f"{len(self.layers)}.inside" if residual else str(len(self.layers))
        self.names |= {engine: f"{place}.{own}" for engine, own in others.names.items()}
        self.layers.append(_Residual(inside) if residual else inside)

    def build(self) -> tuple[nn.Sequential, dict[str, str]]:
        return nn.Sequential(*self.layers), self.names


def _build_mlp(
    params: Mapping[str, Value], n_inputs: int, n_classes: int
) -> tuple[nn.Sequential, dict[str, str]]:
    network = _Layers()
    width = n_inputs
    for i in range(int(params["n_layers"])):
        wider = int(params.get(f"width_{i}", params.get("width", 0)))
        network.add(nn.Linear(width, wider, bias=not params["batch_norm"]), f"hidden.{i}")
        if params["batch_norm"]:
            network.add(nn.BatchNorm1d(wider), f"norm.{i}")
        network.add(nn.ReLU())
        network.add(nn.Dropout(float(params.get(f"dropout_{i}", params.get("dropout", 0.0)))))
        width = wider
    network.add(nn.Linear(width, n_classes), "head")
    return network.build()


class _Move(nn.Module):
    """Puts the dimensions of ``[batch, ...]`` in another order."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, rows: Tensor) -> Tensor:
        return rows.permute(0, *self.order)


def _build_cnn(
    params: Mapping[str, Value], input_shape: tuple[int, ...], n_classes: int
) -> tuple[nn.Sequential, dict[str, str]]:
    """The rules: an image has its channels last, at the start and where it becomes a row again.

    The first convolution of a block halves its size while both sides are 2 or more: by pooling,
    rounded down, or by strides, rounded up. Others keep it; residual ones add their input before
    the activation.
    """
    height, width, channels = (*input_shape, 1)[:3]
    kernel, norm = int(params["kernel_size"]), bool(params["batch_norm"])
    network = _Layers()
    network.add(nn.Unflatten(1, (height, width, channels)))
    network.add(_Move(3, 1, 2))
    activation = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}[
        str(params.get("activation", "relu"))
    ]
    at = 0
    for i in range(int(params["n_blocks"])):
        filters = int(params.get(f"filters_{i}", params.get("filters", 0)))
        for place in range(int(params.get(f"convolutions_{i}", params.get("convolutions", 1)))):
            halves = place == 0 and min(height, width) >= 2
            strides = halves and params.get("downsampling") == "stride"
            layers = _Layers()
            convolution = nn.Conv2d(
                channels,
                filters,
                kernel,
                stride=2 if strides else 1,
                padding=kernel // 2,
                bias=not norm,
            )
            layers.add(convolution, f"conv.{at}")
            if norm:
                layers.add(nn.BatchNorm2d(filters), f"norm.{at}")
            if halves and not strides:
                layers.add(nn.MaxPool2d(2))
            network.add_all(layers, bool(place and params.get("residual")))
            network.add(activation())
            if halves:
                height, width = (math.ceil(n / 2) if strides else n // 2 for n in (height, width))
            channels, at = filters, at + 1
    head = params.get("head", "flatten")
    if head == "flatten":
        network.add(_Move(2, 3, 1))
    else:
        network.add(nn.AdaptiveAvgPool2d(1) if head == "mean" else nn.AdaptiveMaxPool2d(1))
        height = width = 1
    network.add(nn.Flatten())
    features, dense = height * width * channels, int(params["dense_width"])
    if dense:
        network.add(nn.Linear(features, dense), "dense")
        network.add(activation())
    network.add(nn.Dropout(float(params.get("dropout", 0.0))))
    network.add(nn.Linear(dense or features, n_classes), "head")
    return network.build()


def _optimizer(params: Mapping[str, Value], network: nn.Module) -> torch.optim.Optimizer:
    lr, decay = float(params["lr"]), float(params.get("weight_decay", 0.0))
    betas = float(params.get("beta1", 0.9)), float(params.get("beta2", 0.999))
    weights = network.parameters()
    match params["optimizer"]:
        case "adam":
            return torch.optim.Adam(weights, lr=lr, betas=betas, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, lr=lr, betas=betas, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(weights, lr=lr, weight_decay=decay)
        case "sgd":
            momentum = float(params.get("momentum", 0.0))
            # Without momentum there is nothing for Nesterov's rule to look ahead with.
            nesterov = bool(params.get("nesterov", False)) and momentum > 0.0
            return torch.optim.SGD(
                weights, lr=lr, weight_decay=decay, momentum=momentum, nesterov=nesterov
            )
        case "muon":
            return _Muon(weights, lr, decay, float(params.get("momentum", 0.95)), betas)
        case other:
            raise ValueError(f"the reference trainer knows no optimizer {other!r}")


class _Muon(torch.optim.Optimizer):
    """The rules: matrices but the last move along their momentum's nearest orthogonal matrix, as
    ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"`` in full precision; all else by
    ``torch.optim.AdamW``.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        lr: float,
        decay: float,
        momentum: float,
        betas: tuple[float, float],
    ) -> None:
        weights = list(weights)
        self._matrices = [w for w in weights if w.ndim >= 2][:-1]
        others = [w for w in weights if not any(w is m for m in self._matrices)]
        self._adamw = torch.optim.AdamW(others, lr=lr, betas=betas, weight_decay=decay)
        self._momentum, self._decay = momentum, decay
        super().__init__(weights, {"lr": lr})

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        rate = self.param_groups[0]["lr"]
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        for weight in self._matrices:
            assert weight.grad is not None
            state = self.state[weight]
            old = state.get("momentum", torch.zeros_like(weight))
            state["momentum"] = self._momentum * old + (1 - self._momentum) * weight.grad
            ahead = self._momentum * state["momentum"] + (1 - self._momentum) * weight.grad
            x = ahead.reshape(len(weight), -1)
            x = x / x.norm().clamp(min=1e-7)
            rows, columns = x.shape
            for _ in range(5):
                x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
            with torch.no_grad():
                weight *= 1 - rate * self._decay
                weight -= rate * 0.2 * math.sqrt(max(rows, columns)) * x.view(weight.shape)


def _scores(
    network: nn.Module, inputs: Tensor, labels: Tensor, data: TrainingData
) -> dict[str, float]:
    network.eval()
    with torch.no_grad():
        logits = network(inputs[data.n_train :]).double()
    truth, guess = labels[data.n_train :].numpy(), logits.argmax(1).numpy()
    classes = range(data.n_classes)
    return {
        "loss": float(log_loss(truth, logits.softmax(1).numpy(), labels=classes)),
        "accuracy": float(accuracy_score(truth, guess)),
        "f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
        "balanced-accuracy": float(
            recall_score(truth, guess, labels=np.unique(truth), average="macro")
        ),
    }
