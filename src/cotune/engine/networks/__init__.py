"""Networks: their architectures, and one network as an ordinary module."""

from __future__ import annotations

from cotune.engine.networks.cnn import CNN, CNNArchitecture
from cotune.engine.networks.common import CUSTOM, Architecture, Network, Tensors
from cotune.engine.networks.custom.network import CustomNetwork, load_custom_network
from cotune.engine.networks.mlp import MLP, MLPArchitecture

__all__ = [
    "CNN",
    "CUSTOM",
    "MLP",
    "Architecture",
    "CNNArchitecture",
    "MLPArchitecture",
    "Network",
    "CustomNetwork",
    "Tensors",
    "load_custom_network",
]
