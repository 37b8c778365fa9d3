"""Fixtures that several test files share."""

import gc
import os
from pathlib import Path

import pytest

import tinybn as tb


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Every test begins with the same default generator: what it draws does not depend on the tests before it."""
    tb.manual_seed(0)


def pytest_collection_finish() -> None:
    """What is collected here, 50,000 tests, is no garbage; each collection in the lab would look at all of it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder that holds ``mnist/``: TINYBN_DATA, or shared/data beside the repository. Never the user's cache."""
    named = os.environ.get("TINYBN_DATA")
    if named:
        return Path(named)
    beside = Path(__file__).parents[2] / "shared" / "data"
    if (beside / "mnist").is_dir():
        return beside
    reason = f"no MNIST: set TINYBN_DATA to a folder that holds mnist/ (looked in {beside} too)"
    if os.environ.get("TINYBN_REQUIRE_MNIST") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
