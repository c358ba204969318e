"""The generator `dp-ar`."""

from __future__ import annotations

from pathlib import Path

import torch

from generator.ar.network import ArNetwork
from generator.sgd.family import Network, NeuralGenerator
from generator.sgd.fitted import FittedNeural
from generator.sgd.onehot import Layout, log_ones
from generator.sgd.parameters import ArParameters
from generator.sgd.prepare import Measured
from generator.sgd.saving import load_with

__all__ = ["create", "load"]


def create(name: str, values: ArParameters) -> NeuralGenerator:
    """Make the unfitted generator."""

    def build(measured: Measured, layout: Layout, goal: int | None, device: torch.device) -> Network:
        order = [i for i in range(len(layout.sizes)) if i != goal] + ([] if goal is None else [goal])
        network = ArNetwork(layout, order=order, width=values.width).to(device)
        network.start_from(log_ones(measured.ones))
        return network

    return NeuralGenerator(name, values, build)


def load(folder: Path, *, digest: str) -> FittedNeural:
    """Read a saved model."""
    return load_with(folder, digest=digest, rebuild=ArNetwork.rebuilt)
