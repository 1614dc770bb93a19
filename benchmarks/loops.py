"""What Cotune is measured against: the tutorials' loop, and the best plain PyTorch.

Both train the same networks on the same rows for the same epochs as Cotune does, and evaluate after
each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cotune.data.dataset import TrainingData
from cotune.records import TrialSpec


def build(spec: TrialSpec, data: TrainingData) -> nn.Module:
    """The network as the tutorials write it, and all that is drawn later seeded as the trial."""
    torch.manual_seed(spec.seed)
    p = spec.params
    layers: list[nn.Module] = []
    if p.get("model") == "cnn":
        height, width = data.input_shape[:2]
        layers.append(nn.Unflatten(1, (1, height, width)))
        channels = 1
        for i in range(int(p["n_blocks"])):
            filters = int(p[f"filters_{i}"])
            layers.append(nn.Conv2d(channels, filters, int(p["kernel_size"]), padding="same"))
            if p["batch_norm"]:
                layers.append(nn.BatchNorm2d(filters))
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            channels, height, width = filters, height // 2, width // 2
        layers += [nn.Flatten(), nn.Linear(channels * height * width, int(p["dense_width"]))]
        layers += [nn.ReLU(), nn.Dropout(float(p["dropout"]))]
        layers.append(nn.Linear(int(p["dense_width"]), data.n_classes))
        return nn.Sequential(*layers)
    fan_in = data.inputs.shape[1]
    for _ in range(int(p["n_layers"])):
        layers.append(nn.Linear(fan_in, int(p["width"])))
        if p["batch_norm"]:
            layers.append(nn.BatchNorm1d(int(p["width"])))
        layers += [nn.ReLU(), nn.Dropout(float(p["dropout"]))]
        fan_in = int(p["width"])
    layers.append(nn.Linear(fan_in, data.n_classes))
    return nn.Sequential(*layers)


def optimizer_of(spec: TrialSpec, model: nn.Module, fused: bool) -> torch.optim.Optimizer:
    """The trial's optimizer; the fused kernels where ``torch.optim`` has them."""
    p = spec.params
    lr, decay = float(p["lr"]), float(p["weight_decay"])
    weights = model.parameters()
    if p["optimizer"] == "sgd":
        momentum = float(p["momentum"])
        return torch.optim.SGD(weights, lr, momentum, weight_decay=decay, fused=fused)
    if p["optimizer"] == "rmsprop":
        return torch.optim.RMSprop(weights, lr, weight_decay=decay, foreach=fused)
    kind = torch.optim.AdamW if p["optimizer"] == "adamw" else torch.optim.Adam
    return kind(weights, lr, weight_decay=decay, fused=fused)


class Rows(Dataset[tuple[Tensor, int]]):
    """The tutorials' Dataset: one row at a time."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.inputs[index], int(self.labels[index])


def tutorial_loop(spec: TrialSpec, data: TrainingData) -> float:
    """Dataset, DataLoader(shuffle), eager, default threads; returns the last accuracy."""
    accuracy = 0.0
    for accuracy in tutorial_epochs(build(spec, data), spec, data):  # noqa: B007
        pass
    return accuracy


def tutorial_epochs(model: nn.Module, spec: TrialSpec, data: TrainingData) -> Iterator[float]:
    """The tutorials' loop; yields the accuracy on the validation part after each epoch."""
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    n, batch = data.n_train, int(spec.params["batch_size"])
    train = DataLoader(Rows(inputs[:n], labels[:n]), batch_size=batch, shuffle=True, drop_last=True)
    held_out = DataLoader(Rows(inputs[n:], labels[n:]), batch_size=batch)
    optimizer = optimizer_of(spec, model, fused=False)
    criterion = nn.CrossEntropyLoss()
    for _ in range(spec.epochs):
        model.train()
        for rows, truth in train:
            optimizer.zero_grad()
            loss = criterion(model(rows), truth)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for rows, truth in held_out:
                correct += int((model(rows).argmax(1) == truth).sum())
        yield correct / max(1, len(labels) - n)


def lean_loop(spec: TrialSpec, data: TrainingData) -> float:
    """Tensor slices, fused optimizer; for one thread of one of many processes."""
    accuracy = 0.0
    for accuracy in lean_epochs(build(spec, data), spec, data):  # noqa: B007
        pass
    return accuracy


def lean_epochs(model: nn.Module, spec: TrialSpec, data: TrainingData) -> Iterator[float]:
    """The lean loop; yields the accuracy on the validation part after each epoch."""
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    n, batch = data.n_train, int(spec.params["batch_size"])
    optimizer = optimizer_of(spec, model, fused=True)
    for _ in range(spec.epochs):
        model.train()
        order = torch.randperm(n)[: n // batch * batch].view(-1, batch)
        for index in order:
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(inputs[index]), labels[index])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            predicted = torch.cat([model(rows).argmax(1) for rows in inputs[n:].split(1024)])
        yield float((predicted == labels[n:]).sum()) / max(1, len(labels) - n)
