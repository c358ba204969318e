"""Arrow as this package sees it: pyarrow ships no types, so its arrays and functions are typed in one place.

Invariants:
    - `Cells` is one Arrow array; what type its values have is said by the function that takes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow.compute

__all__ = ["Cells", "pc"]

Cells: TypeAlias = Any
pc: Any = pyarrow.compute
