"""MNIST, from a folder, from the user's cache, or from the public mirrors."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from tinybn._typing import Array
from tinybn.data.dataset import Dataset, TrainTest
from tinybn.data.download import DataUnavailableError, fetch
from tinybn.data.idx import gunzip, parse_idx
from tinybn.errors import DataError

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


class _File(NamedTuple):
    name: str
    size: int  # in bytes, uncompressed
    sha256: str  # of the uncompressed bytes: gzip wrappers differ between the mirrors


_FILES = (
    _File("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    _File("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    _File("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    _File("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
_HELP = f"the four files {', '.join(file.name for file in _FILES)}, plain or .gz"


def mnist(folder: str | os.PathLike[str] | None = None, *, download: bool = True) -> TrainTest:
    """The MNIST database of handwritten digits: 60,000 images to train and 10,000 to test, 28×28, ten classes.

    The files are taken from the first of these that applies, and there is no falling back from one that was named:

    1. ``folder``,
    2. the folder that the environment variable ``TINYBN_DATA`` names,
    3. the user's cache, and what it lacks is downloaded into it (11 MB) from the public mirrors.

    Args:
        folder: a folder that holds the four files, or holds a folder ``mnist`` that does.
        download: whether to ask the mirrors; True by default. Without a network it takes 3 seconds per mirror at most.

    Returns:
        ``train`` and ``test``, a ``Dataset`` each: uint8 images (N, 28, 28), uint8 labels (N,), scale 255.

    Raises:
        DataUnavailableError: no folder was named, and the files are neither in the cache nor to be had.
        DataError: files missing from a named folder, or a file whose uncompressed bytes do not have the known SHA-256.

    Who can do without MNIST catches the first of these, and lets the user see the second:

    >>> from tinybn.data import DataUnavailableError, digits, mnist
    >>> try:  # doctest: +SKIP
    ...     train, test = mnist()
    ... except DataUnavailableError as reason:
    ...     print(reason)
    ...     train, test = digits()

    Reference:
        Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", CC BY-SA 3.0.
    """
    named = os.environ.get("TINYBN_DATA")
    if folder is not None:
        paths = _in_named(Path(folder), f"mnist(folder={os.fspath(folder)!r})")
    elif named:
        paths = _in_named(Path(named), f"TINYBN_DATA={named}")
    else:
        paths = _in_cache(download)
    arrays = [_parse(path.read_bytes(), str(path), file) for path, file in zip(paths, _FILES, strict=True)]
    return TrainTest(
        Dataset(arrays[0], arrays[1], name="MNIST train", classes=10),
        Dataset(arrays[2], arrays[3], name="MNIST test", classes=10),
    )


def _in_named(folder: Path, said: str) -> list[Path]:
    folder = folder.expanduser()
    looked = []
    for place in (folder / "mnist", folder):
        found, missing = _look(place)
        if not missing:
            return found
        lacks = ", ".join(file.name for file in missing) if found else "every one of them"
        looked.append(f"{place} ({'lacks ' + lacks if place.is_dir() else 'no such folder'})")
    raise DataError(f"{said}: no MNIST there. Looked for {_HELP}, in {' and '.join(looked)}")


def _in_cache(download: bool) -> list[Path]:
    from platformdirs import user_cache_dir

    cache = Path(user_cache_dir("tinybn")) / "mnist"
    _, missing = _look(cache)
    if missing:
        try:
            if not download:
                raise DataUnavailableError("download=False")
            expected = {f"{file.name}.gz": file for file in missing}
            limits = {name: file.size + 1000 for name, file in expected.items()}  # gzip may even add a little
            fetch(limits, MIRRORS, cache, lambda content, name: _parse(content, name, expected[name]))
        except DataUnavailableError as error:
            raise DataUnavailableError(
                f"MNIST is not in the cache {cache}, and not downloaded: {error}. To provide it, put {_HELP}, into a "
                "folder and name the folder: mnist(folder) or TINYBN_DATA"
            ) from error
    return _look(cache)[0]


def _look(folder: Path) -> tuple[list[Path], list[_File]]:
    """The paths of the files that are there, and the files that are not."""
    found, missing = [], []
    for file in _FILES:
        path = next((p for p in (folder / file.name, folder / f"{file.name}.gz") if p.is_file()), None)
        if path is None:
            missing.append(file)
        else:
            found.append(path)
    return found, missing


def _parse(content: bytes, name: str, file: _File) -> Array:
    content = gunzip(content, name)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise DataError(
            f"{name}: not the {file.name} of MNIST, or altered: expected {file.size} uncompressed bytes with SHA-256 "
            f"{file.sha256}, found {len(content)} with {sha256}. Replace the file; one in the cache is downloaded "
            "again once it is deleted"
        )
    return parse_idx(content, name)
