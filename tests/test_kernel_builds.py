"""Which build of the kernels serves, and that all of them give the same bits."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from kernel_helpers import KERNELS, arguments, batchnorm_modules, bits, call, every_dtype, every_kernel, every_layout

from tinybn import kernels

ROOT = Path(__file__).parents[1]
SOURCES = [path.stem for path in (ROOT / "tinybn" / "kernels").iterdir() if path.suffix in (".py", "")]

# Around every border in the kernels: lengths of vectors and lanes, broad and narrow rows, long ones that are cut,
# channels that fit one block, rows that are several slices.
SHAPES = [
    (n, c, s)
    for n, c, s in product(
        (1, 2, 16, 17, 65, 513, 4097),
        (1, 3, 31, 256, 257, 300),
        (1, 2, 31, 32, 33, 63, 64, 65, 784, 1024, 1025, 4097),
    )
    if n * c * s <= 20_000
]
LARGE = [(4097, 30, 1), (65, 257, 5), (513, 31, 9), (3, 31, 1025), (2, 33, 4097), (1100, 257, 1), (9000, 3, 2)]


def same_bits(kernel, shape, layout, dtype):
    modules = batchnorm_modules()
    if not modules:
        pytest.skip("the kernels are not compiled")
    given = arguments(shape, layout, dtype)
    for relu in (False, True):
        first, *others = (
            bits(call(getattr(module, kernel), given, relu=relu, threads=threads, stream=threads > 1))
            for threads, module in enumerate(modules.values(), 1)
        )
        for name, other in zip(list(modules)[1:], others, strict=True):
            assert other == first, f"{name}, (N, C, S) = {shape}, relu={relu}"


@every_dtype
@every_layout
@every_kernel
def test_instruction_sets_give_the_same_bits(kernel, layout, dtype):
    for shape in SHAPES[::5]:  # 5 divides none of the lists' lengths: every value comes up
        same_bits(kernel, shape, layout, dtype)


@pytest.mark.slow
@every_dtype
@every_layout
@every_kernel
def test_instruction_sets_give_the_same_bits_for_every_shape(kernel, layout, dtype):
    for shape in SHAPES:
        same_bits(kernel, shape, layout, dtype)


@every_dtype
@every_layout
@every_kernel
def test_instruction_sets_give_the_same_bits_for_large_tensors(kernel, layout, dtype):
    for shape in LARGE:
        same_bits(kernel, shape, layout, dtype)


def test_the_module_that_serves_is_one_of_those_that_are_compared():
    if not kernels.COMPILED:
        pytest.skip("the kernels are not compiled")
    serving = kernels.KERNELS[KERNELS[0]][0]
    assert any(getattr(module, KERNELS[0]) is serving for module in batchnorm_modules().values())


# --- which build serves -----------------------------------------------------------------------------------------------

REPORT = """
import json, os, sys, warnings
warnings.simplefilter("error")
{before}
from tinybn import kernels
print(json.dumps([kernels.BUILD, kernels.COMPILED, "OMP_WAIT_POLICY" in os.environ]))
"""
NOT_BUILT = f"""
class NotBuilt:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("tinybn.kernels.") and name.split(".")[2] not in {SOURCES}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotBuilt())
"""


def fresh(code, choice=None):
    """Run code in a new interpreter with TINYBN_KERNELS set to choice."""
    environment = {key: value for key, value in os.environ.items() if key not in ("TINYBN_KERNELS", "OMP_WAIT_POLICY")}
    environment["PYTHONPATH"] = str(ROOT)
    if choice is not None:
        environment["TINYBN_KERNELS"] = choice
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_tinybn_kernels_chooses_the_twins_without_a_warning():
    done = fresh(REPORT.format(before=""), "numpy")
    assert json.loads(done.stdout) == ["numpy", False, False], done.stderr


@pytest.mark.parametrize("choice", ["baseline", "v3", "v4"])
def test_tinybn_kernels_chooses_a_build_or_says_what_there_is(choice):
    done = fresh(REPORT.format(before=""), choice)
    if done.returncode == 0:
        assert json.loads(done.stdout) == [choice, True, False]
    else:
        assert f"ImportError: TINYBN_KERNELS is '{choice}'" in done.stderr


def test_tinybn_kernels_with_an_unknown_value_is_refused():
    done = fresh(REPORT.format(before=""), "fast")
    assert "ValueError: TINYBN_KERNELS is 'fast'; expected one of numpy" in done.stderr


def test_a_missing_build_is_one_clear_warning_or_an_error_when_it_was_asked_for():
    done = fresh(REPORT.format(before=NOT_BUILT))
    assert "RuntimeWarning" in done.stderr and "not compiled" in done.stderr and "C compiler" in done.stderr
    done = fresh(REPORT.format(before=NOT_BUILT + 'warnings.simplefilter("ignore")'))
    assert json.loads(done.stdout) == ["numpy", False, False], done.stderr
    done = fresh(REPORT.format(before=NOT_BUILT), "baseline")
    assert "ImportError: TINYBN_KERNELS is 'baseline'" in done.stderr
