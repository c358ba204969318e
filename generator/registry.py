"""From a generator's name to the generator: the only door through which other rooms get one.

Responsible for lazy construction (naming a generator loads no model code) and for having its hyper-parameters checked.

Invariants:
    - Names are those of `policies.types.GENERATORS`; an unknown name is an error that names it.
    - A generator whose family cannot run in this installation raises `NotAvailable`; it is never replaced by another.
    - Hyper-parameters are checked before a family is given them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from generator.base import FittedGenerator, Generator, GeneratorError, NotAvailable
from generator.hyperparameters import checked, model_of
from generator.model_file import read_kind
from policies.types import GENERATORS, GeneratorInfo

__all__ = ["available", "create", "hyperparameters_schema", "info", "load"]

FAMILIES: Mapping[str, str] = {
    "dp-marginal": "generator.marginal.family",
    "dp-aim": "generator.marginal.aim",
    "dp-ctgan": "generator.gan.family",
    "dp-tvae": "generator.vae.family",
    "dp-ar": "generator.ar.family",
    "pate-gan": "generator.pate.family",
    "ctgan": "generator.gan.plain",
    "tvae": "generator.vae.plain",
    "cart": "generator.trees.family",
}
"""Module of each family; it offers `create(name, values)` and `load(folder, digest)`."""


def info(name: str) -> GeneratorInfo:
    """The catalogue line of a name.

    Raises:
        GeneratorError: no generator has this name.
    """
    if name not in GENERATORS:
        raise GeneratorError(f"there is no generator '{name}'; there are {', '.join(GENERATORS)}")
    return GENERATORS[name]


def available() -> tuple[str, ...]:
    """Names that this installation can run, in the order of the catalogue. Loads no family."""
    return tuple(name for name in GENERATORS if _exists(FAMILIES[name]))


def create(name: str, hyperparameters: Mapping[str, Any] | None = None) -> Generator:
    """Make an unfitted generator.

    Args:
        name: A name of the catalogue.
        hyperparameters: Values of the family's own parameters; those not given take their defaults.

    Raises:
        GeneratorError: no generator has this name.
        NotAvailable: its family cannot run here.
        BadHyperparameters: an unknown parameter or a value outside its range, named.
    """
    family = _family(name)
    return cast("Generator", family.create(name, checked(name, hyperparameters or {})))


def hyperparameters_schema(name: str) -> dict[str, Any]:
    """JSON Schema of a generator's hyper-parameters."""
    info(name)
    return model_of(name).model_json_schema()


def load(folder: Path, *, digest: str) -> FittedGenerator:
    """Read a saved model.

    Args:
        folder: Where `save` wrote it.
        digest: What `save` returned; compared before anything is parsed.

    Raises:
        ModelCorrupt: the files do not have this digest.
    """
    return cast("FittedGenerator", _family(read_kind(folder, digest=digest)).load(folder, digest=digest))


def _family(name: str) -> Any:
    info(name)
    if not _exists(FAMILIES[name]):
        raise NotAvailable(f"the generator '{name}' is not part of this installation; available are {', '.join(available())}")
    return import_module(FAMILIES[name])


def _exists(module: str) -> bool:
    package, _, _ = module.rpartition(".")
    try:
        return find_spec(package) is not None and find_spec(module) is not None
    except ModuleNotFoundError:
        return False
