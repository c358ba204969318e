"""DP-SGD: accounting without torch (`accounting`), and training (`engine` and its neighbours, which load torch)."""

from __future__ import annotations
