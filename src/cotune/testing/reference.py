"""One network, trained the plain way: ``nn.Sequential``, ``torch.optim``, a loop over minibatches.

Slow and easy to check by eye. It shares no code with the engine, whose lanes must come to the same
weights; the rules that both follow are stated here a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch import Tensor, nn

from cotune.data.dataset import TrainingData
from cotune.results import Part, Value


@dataclass(frozen=True)
class ReferenceEpoch:
    """Where the network stood after an epoch.

    Attributes:
        train_loss: Mean cross-entropy over the minibatches.
        train_accuracy: Share of those rows classified right, 0-1.
        scores: ``loss``, ``accuracy`` and ``f1`` on the validation part, by scikit-learn; empty
            when there is none.
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
    network, names = _build(params, data.inputs.shape[1], data.n_classes)
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
    done = []
    for epoch in range(epochs):
        network.train()
        losses: list[float] = []
        hits = 0
        order = _order(n_rows, seed, epoch)
        # Only whole minibatches; the rows that are left over wait for another epoch.
        for first in range(0, n_rows - batch_size + 1, batch_size):
            rows = order[first : first + batch_size]
            logits = network(inputs[rows])
            loss = nn.functional.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
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
    return done


def _order(n_rows: int, seed: int, epoch: int) -> Tensor:
    """The rule: a permutation that depends on (seed, epoch) alone, epochs counted from 0."""
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


def _build(
    params: Mapping[str, Value], n_inputs: int, n_classes: int
) -> tuple[nn.Sequential, dict[str, str]]:
    """The network, and the engine's name of each of its tensors -> its own."""
    layers: list[nn.Module] = []
    names: dict[str, str] = {}

    def add(layer: nn.Module, engine_name: str) -> None:
        for name in layer.state_dict():
            if name != "num_batches_tracked":  # the engine has no use for it
                names[f"{engine_name}.{name}"] = f"{len(layers)}.{name}"
        layers.append(layer)

    width = n_inputs
    for i in range(int(params["n_layers"])):
        wider = int(params.get(f"width_{i}", params.get("width", 0)))
        add(nn.Linear(width, wider, bias=not params["batch_norm"]), f"hidden.{i}")
        if params["batch_norm"]:
            add(nn.BatchNorm1d(wider), f"norm.{i}")
        layers.append(nn.ReLU())
        layers.append(nn.Dropout(float(params.get(f"dropout_{i}", params.get("dropout", 0.0)))))
        width = wider
    add(nn.Linear(width, n_classes), "head")
    return nn.Sequential(*layers), names


def _optimizer(params: Mapping[str, Value], network: nn.Module) -> torch.optim.Optimizer:
    lr, decay = float(params["lr"]), float(params.get("weight_decay", 0.0))
    weights = network.parameters()
    match params["optimizer"]:
        case "adam":
            return torch.optim.Adam(weights, lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, lr=lr, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(weights, lr=lr, weight_decay=decay)
        case "sgd":
            momentum = float(params.get("momentum", 0.0))
            return torch.optim.SGD(weights, lr=lr, weight_decay=decay, momentum=momentum)
        case other:
            raise ValueError(f"the reference trainer knows no optimizer {other!r}")


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
        "f1": float(f1_score(truth, guess, labels=classes, average="macro", zero_division=0)),
    }
