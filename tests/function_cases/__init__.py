"""The table of the public functions: one file of rows for each file in ``tinybn/functional``.

``test_functions.py`` walks over it. A function without a row fails a test there.
"""

from function_cases.row import Refused, Row

__all__ = ["Refused", "Row"]
