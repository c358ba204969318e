"""The generator `dp-tvae`."""

from __future__ import annotations

from pathlib import Path

import torch

from generator.sgd.family import Network, NeuralGenerator
from generator.sgd.fitted import FittedNeural
from generator.sgd.onehot import Layout, log_ones
from generator.sgd.parameters import VaeParameters
from generator.sgd.prepare import Measured
from generator.sgd.saving import load_with
from generator.vae.network import VaeNetwork

__all__ = ["create", "load"]


def create(name: str, values: VaeParameters) -> NeuralGenerator:
    """Make the unfitted generator."""

    def build(measured: Measured, layout: Layout, _goal: int | None, device: torch.device) -> Network:
        network = VaeNetwork(layout, latent=values.latent, width=values.width, beta=values.beta).to(device)
        network.start_from(log_ones(measured.ones))
        return network

    return NeuralGenerator(name, values, build)


def load(folder: Path, *, digest: str) -> FittedNeural:
    """Read a saved model."""
    return load_with(folder, digest=digest, rebuild=VaeNetwork.rebuilt)
