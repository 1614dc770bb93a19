"""Networks: their architectures, and one network as an ordinary module."""

from __future__ import annotations

from cotune.engine.networks.cnn import CNN, CNNArchitecture
from cotune.engine.networks.common import CUSTOM, Architecture, Network, Tensors
from cotune.engine.networks.custom.network import OwnNetwork, load_own
from cotune.engine.networks.mlp import MLP, MLPArchitecture

__all__ = [
    "CNN",
    "CUSTOM",
    "MLP",
    "Architecture",
    "CNNArchitecture",
    "MLPArchitecture",
    "Network",
    "OwnNetwork",
    "Tensors",
    "load_own",
]
