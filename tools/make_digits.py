"""Make tinybn/data/digits.npz from scikit-learn's copy of the UCI digits.

    python tools/make_digits.py            write the file
    python tools/make_digits.py --check    compare the file with what would be written; exit status 1 when they differ

The file is an npz without compression: so its bytes do not depend on the version of zlib (117 kB instead of 45).
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "tinybn" / "data" / "digits.npz"


def make() -> bytes:
    """The bytes of the file."""
    source = load_digits()
    arrays = {"images": source.images.astype(np.uint8), "labels": source.target.astype(np.uint8)}
    assert arrays["images"].shape == (1797, 8, 8) and arrays["images"].max() == 16
    assert (arrays["images"] == source.images).all() and (arrays["labels"] == source.target).all()
    assert set(arrays["labels"].tolist()) == set(range(10))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            # A ZipInfo of its own: a fixed date, and the same system in the header wherever this runs.
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, member.getvalue())
    return file.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description="Make tinybn/data/digits.npz from scikit-learn's copy.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    content = make()
    if not parser.parse_args().check:
        TARGET.write_bytes(content)
        print(f"wrote {TARGET}: {len(content)} bytes")
    elif not TARGET.is_file() or TARGET.read_bytes() != content:
        print(f"{TARGET} is not what this would write; run it without --check", file=sys.stderr)
        return 1
    else:
        print(f"{TARGET}: {len(content)} bytes, as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
