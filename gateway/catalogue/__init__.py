"""Registered dataset cards and applied policies, by version."""

from __future__ import annotations

from gateway.catalogue.datasets import Datasets, RegisteredDataset
from gateway.catalogue.guards import install_guards
from gateway.catalogue.policies import AppliedPolicy, Policies

__all__ = ["AppliedPolicy", "Datasets", "Policies", "RegisteredDataset", "install_guards"]
