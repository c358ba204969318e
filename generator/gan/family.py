"""The generator `dp-ctgan`."""

from __future__ import annotations

from pathlib import Path

import torch

from generator.gan.generator import RowGenerator
from generator.gan.network import GanNetwork
from generator.sgd.family import Network, NeuralGenerator
from generator.sgd.fitted import FittedNeural
from generator.sgd.onehot import Layout, log_ones
from generator.sgd.parameters import GanParameters
from generator.sgd.prepare import Measured
from generator.sgd.saving import load_with

__all__ = ["create", "load"]


def create(name: str, values: GanParameters) -> NeuralGenerator:
    """Make the unfitted generator."""

    def build(measured: Measured, layout: Layout, _goal: int | None, device: torch.device) -> Network:
        network = GanNetwork(
            layout,
            noise=values.noise_width,
            widths=(values.generator_width, values.discriminator_width),
            generator_steps=values.generator_steps,
        ).to(device)
        network.start_from(log_ones(measured.ones))
        return network

    return NeuralGenerator(name, values, build)


def load(folder: Path, *, digest: str) -> FittedNeural:
    """Read a saved model."""
    return load_with(folder, digest=digest, rebuild=RowGenerator.rebuilt)
