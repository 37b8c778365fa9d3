"""The lab: kernels verified against their NumPy twins in float64, then timed in turn with each other.

``python -m tinybn bench`` runs it; docs/bench.md tells what its figures mean. From a program:

>>> from tinybn import bench
>>> rows = bench.run(kernels=["normalize"], versions=["numpy"], quick=True)
>>> {row.status for row in rows}
{'ok'}

`register` adds a version of a kernel, `register_kernel` a new kernel.
"""

from tinybn.bench import batchnorm, others, row_users, rows, steps, training, users  # noqa: F401  # they fill the table
from tinybn.bench.inputs import Case, aligned
from tinybn.bench.registry import KERNELS, Kernel, Version, register, register_kernel, unregister
from tinybn.bench.results import Report, Row, load
from tinybn.bench.runner import run

__all__ = [
    "KERNELS",
    "Case",
    "Kernel",
    "Report",
    "Row",
    "Version",
    "aligned",
    "load",
    "register",
    "register_kernel",
    "run",
    "unregister",
]
