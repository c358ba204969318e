"""What generators refuse, without importing any numeric library, so that the web can name these errors."""

from __future__ import annotations

__all__ = ["BadHyperparameters", "BadTable", "Cancelled", "GeneratorError", "ModelCorrupt", "NotAvailable"]


class GeneratorError(Exception):
    """A generator cannot do what was asked; the message is one clear sentence without any row in it."""


class BadTable(GeneratorError):
    """The train table does not fit the dataset card."""


class BadHyperparameters(GeneratorError):
    """A hyper-parameter is unknown or out of its range."""


class NotAvailable(GeneratorError):
    """The generator's name is known, but this installation cannot run it."""


class ModelCorrupt(GeneratorError):
    """A saved model does not have the digest it should have, or is not a model at all."""


class Cancelled(GeneratorError):
    """The fit was stopped on demand. What was read until then is spent."""
