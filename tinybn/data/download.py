"""Fetching files from mirrors: checked before they are written, written whole or not at all."""

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinybn.errors import DataError

# urllib and tqdm are imported where they are used: together they would double the time of `import tinybn`.

ANSWER = 3.0  # seconds that a mirror has to answer at all: name, connection, headers
STALL = 5.0  # seconds without a byte after which a transfer is given up
_PIECE = 1 << 16


class DataUnavailableError(DataError):
    """Data that is neither on this machine nor to be had from a mirror."""


def fetch(
    files: Mapping[str, int], mirrors: Sequence[str], folder: Path, check: Callable[[bytes, str], object]
) -> None:
    """Put files into a folder, each from the first mirror that gives it.

    Args:
        files: names, and bytes that a file has at most.
        mirrors: what stands before a name in its address. One that fails is not asked again.
        folder: where the files go; made when the first file is there.
        check: called with the bytes of a file and its name, raises DataError when they are not the right ones.

    Raises:
        DataUnavailableError: no mirror gives a file, or the folder cannot be written to. Says what was tried.
    """
    from http.client import HTTPException

    failures: list[str] = []
    mirrors = list(mirrors)
    for name, limit in files.items():
        while mirrors:
            try:
                content = _receive(mirrors[0] + name, limit)
                check(content, name)
                break
            except (OSError, HTTPException, DataError) as error:
                failures.append(f"{mirrors.pop(0)}{name} ({str(error) or type(error).__name__})")
        else:
            raise DataUnavailableError(f"cannot download {name}; tried " + "; ".join(failures))
        try:
            _write(folder / name, content)
        except OSError as error:
            raise DataUnavailableError(f"downloaded {name}, but cannot write it to {folder}: {error}") from error


def _receive(url: str, limit: int) -> bytes:
    from tqdm import tqdm

    pieces: list[bytes] = []
    with _open(url) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        # disable=None: no bar where nobody watches, in a pipe or a log
        with tqdm(desc=url.rpartition("/")[2], total=total, unit="B", unit_scale=True, disable=None) as bar:
            received = 0
            while piece := response.read(_PIECE):
                pieces.append(piece)
                received += len(piece)
                bar.update(len(piece))
                if received > limit:
                    raise DataError(f"expected at most {limit} bytes, received more")
    if total is not None and received != total:
        raise DataError(f"truncated: expected {total} bytes, received {received}")
    return b"".join(pieces)


def _open(url: str) -> Any:
    """``urlopen`` with one limit on all up to the headers: its own time-out does not cover the look-up of names."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urlopen(url, timeout=STALL))
        except Exception as error:
            if isinstance(error, HTTPError):  # it is a response too, and holds the connection
                error.close()
            answers.put(error)

    threading.Thread(target=ask, name=f"open {url}", daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER)
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
