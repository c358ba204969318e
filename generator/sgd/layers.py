"""Linear layers that give the gradient norm of each row and the clipped sum of all rows without storing a gradient a row.

For a linear layer the gradient of row r is the outer product of its output's gradient g_r and its input a_r. Its squared norm
is |g_r|²·|a_r|² (with a mask: Σ_oi m_oi g_o² a_i²), and a weighted sum over rows is one matrix product. So one backward pass
serves both (the "ghost" or vectorised per-sample gradients of Lee and Kifer 2021, Li et al. 2022).

Invariants:
    - Every trainable number of a network that sees private rows lives in such a layer; `private_layers` refuses others.
    - Rows do not mix: no layer here lets one row's output depend on another row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PrivateLinear", "private_layers"]


class PrivateLinear(nn.Module):
    """`y = x (W ∘ M)^T + b` that remembers inputs and output gradients of the last backward pass.

    Args:
        inputs, outputs: Widths.
        mask: Which weights exist, of shape (outputs, inputs); None for all.
        scale: Standard deviation of initial weights times the square root of the inputs.
    """

    def __init__(self, inputs: int, outputs: int, *, mask: Tensor | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (scale / max(1, inputs) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.mask: Tensor | None
        self.register_buffer("mask", mask)
        self.is_recording = False
        self._inputs: Tensor | None = None
        self._outputs: Tensor | None = None

    def forward(self, rows: Tensor) -> Tensor:
        """Apply the layer."""
        weight = self.weight if self.mask is None else self.weight * self.mask
        if not self.is_recording:
            return nn.functional.linear(rows, weight, self.bias)
        self._inputs = rows.detach()
        found = nn.functional.linear(rows, weight.detach(), self.bias.detach())
        self._outputs = found if found.requires_grad else found.requires_grad_()
        self._outputs.retain_grad()
        return self._outputs

    def squared_norms(self) -> Tensor:
        """Squared gradient norm of each row."""
        inputs, gradients = self._recorded()
        squares = gradients.square()
        if self.mask is None:
            weight = squares.sum(1) * inputs.square().sum(1)
        else:
            weight = (squares * (inputs.square() @ self.mask.T)).sum(1)
        return weight + squares.sum(1)

    def weighted_sum(self, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of weight and bias, each row multiplied by its factor; a row of factor 0 is left out, whatever it holds."""
        inputs, gradients = self._recorded()
        is_in = (factors > 0)[:, None]
        inputs = torch.where(is_in, inputs, 0.0)
        scaled = torch.where(is_in, gradients, 0.0) * factors[:, None]
        weight = scaled.T @ inputs
        return (weight if self.mask is None else weight * self.mask), scaled.sum(0)

    def _recorded(self) -> tuple[Tensor, Tensor]:
        if self._inputs is None or self._outputs is None or self._outputs.grad is None:
            raise RuntimeError("no backward pass was recorded")
        return self._inputs.float(), self._outputs.grad.float()


def private_layers(network: nn.Module) -> list[PrivateLinear]:
    """All layers of a network that is to be trained on private rows.

    Raises:
        TypeError: a trainable parameter lives outside of them, so that it would be trained without noise.
    """
    found = [module for module in network.modules() if isinstance(module, PrivateLinear)]
    covered = {id(parameter) for layer in found for parameter in layer.parameters()}
    if any(id(parameter) not in covered for parameter in network.parameters() if parameter.requires_grad):
        raise TypeError("a trainable parameter outside of private layers would be trained without noise")
    return found
