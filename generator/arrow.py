"""Arrow's arrays and compute functions as this room uses them.

Responsible for one untyped door: the published types of Arrow do not know arrays whose value type is only known at run time.

Invariants:
    - Nothing but names is defined here.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow.compute

__all__ = ["Array", "compute"]

Array: TypeAlias = Any
compute: Any = pyarrow.compute
