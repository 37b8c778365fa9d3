"""Where MNIST comes from: folders, the cache, mirrors that answer well, badly and not at all; and the digits."""

import gzip
import hashlib
import importlib
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tinybn.data import DataLoader, DataUnavailableError, digits, mnist
from tinybn.errors import DataError

module = importlib.import_module("tinybn.data.mnist")  # the package's own `mnist` is the function
downloads = importlib.import_module("tinybn.data.download")

NAMES = [file.name for file in module._FILES]


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def small_files():
    """Five images to train and three to test, under MNIST's names."""
    images = np.arange(8 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(8, 28, 28)
    labels = np.arange(8, dtype=np.uint8)
    parts = images[:5], labels[:5], images[5:], labels[5:]
    return {name: idx(part) for name, part in zip(NAMES, parts, strict=True)}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """MNIST made small, no folder named, an empty cache, and no mirrors. Returns the contents of the files."""
    contents = small_files()
    files = tuple(module._File(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    monkeypatch.setattr(module, "_FILES", files)
    monkeypatch.setattr(module, "MIRRORS", ())
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.delenv("TINYBN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return contents


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "tinybn" / "mnist"


def put(folder, contents, zipped=True):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def check(data):
    assert [len(part) for part in data] == [5, 3]
    assert data.train.images.shape == (5, 28, 28) and data.train.images.dtype == np.uint8
    assert data.test.labels.tolist() == [5, 6, 7] and data.test.classes == 10 and data.test.scale == 255


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("named", ["data", "data/mnist"])
@pytest.mark.parametrize("variable", [False, True])
def test_named_folder(small, monkeypatch, tmp_path, zipped, named, variable):
    put(tmp_path / "data" / "mnist", small, zipped)
    if variable:
        monkeypatch.setenv("TINYBN_DATA", str(tmp_path / named))
    check(mnist() if variable else mnist(tmp_path / named))


def test_a_folder_named_by_the_caller_goes_before_the_variable(small, monkeypatch, tmp_path):
    put(tmp_path / "data", small)
    monkeypatch.setenv("TINYBN_DATA", str(tmp_path / "nowhere"))
    check(mnist(tmp_path / "data"))


@pytest.mark.parametrize("variable", [False, True])
def test_no_falling_back_from_a_named_folder(small, monkeypatch, tmp_path, cache, variable):
    put(cache, small)
    lacking = put(tmp_path / "data" / "mnist", small)
    (lacking / f"{NAMES[2]}.gz").unlink()
    for folder, problem in (("data", f"{lacking} .lacks {NAMES[2]}."), ("nowhere", "nowhere .no such folder.")):
        if variable:
            monkeypatch.setenv("TINYBN_DATA", str(tmp_path / folder))
        said = "TINYBN_DATA=" if variable else "mnist.folder="
        with pytest.raises(DataError, match=f"{said}.*{folder}.*Looked for the four files.*{problem}") as raised:
            mnist() if variable else mnist(tmp_path / folder)
        assert not isinstance(raised.value, DataUnavailableError)  # a mistake of the user's, not a lack of data


@pytest.mark.parametrize("place", ["folder", "variable", "cache"])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_altered_file_is_an_error_wherever_it_lies(small, monkeypatch, tmp_path, cache, place, zipped):
    name = NAMES[1]
    good = hashlib.sha256(small[name]).hexdigest()
    small[name] = small[name][:-1] + b"\x09"
    folder = put(cache if place == "cache" else tmp_path / "data", small, zipped)
    if place == "variable":
        monkeypatch.setenv("TINYBN_DATA", str(folder))
    found = hashlib.sha256(small[name]).hexdigest()
    with pytest.raises(DataError, match=f"{folder / name}.*expected 13 .*{good}, found 13 with {found}") as raised:
        mnist(folder if place == "folder" else None)
    assert not isinstance(raised.value, DataUnavailableError)


def test_a_truncated_file_is_an_error(small, tmp_path):
    folder = put(tmp_path / "data", small)
    path = folder / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path}: truncated"):
        mnist(folder)


def test_cache(small, cache):
    put(cache, small)
    check(mnist(download=False))


def test_nothing_to_be_had(small, cache):
    for download in (False, True):
        with pytest.raises(DataUnavailableError, match=f"not in the cache {cache}.*To provide it.*TINYBN_DATA"):
            mnist(download=download)
    assert not cache.parents[1].exists()


class Mirror(BaseHTTPRequestHandler):
    """Answers /<manner>/<name>.gz in that manner."""

    def do_GET(self):
        _, manner, name = self.path.split("/")
        self.server.asked.append((manner, name))
        content = gzip.compress(self.server.contents[name.removesuffix(".gz")])
        if manner == "silent":
            self.server.over.wait(10)
            return
        if manner == "missing" or (manner == "half" and "labels" in name):
            self.send_error(404)
            return
        if manner == "plain":
            content = gzip.decompress(content)
        if manner == "altered":
            content = gzip.compress(b"\0" * 100)
        if manner == "long":
            content = bytes(100_000)
        self.send_response(200)
        if manner != "long":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if manner in ("truncated", "stalled"):
            content = content[:-20]
        self.wfile.write(content)
        if manner == "stalled":
            self.wfile.flush()
            self.server.over.wait(10)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirrors(small, monkeypatch):
    """``mirrors("silent", "good")`` makes those the mirrors; returns the list of what is asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.contents, server.asked, server.over = small, [], threading.Event()
    server.handle_error = lambda *args: None  # a client that gives up is what is tested
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()[1]

    def choose(*manners):
        ports = [refusing if manner == "refusing" else server.server_port for manner in manners]
        urls = tuple(f"http://127.0.0.1:{port}/{manner}/" for port, manner in zip(ports, manners, strict=True))
        monkeypatch.setattr(module, "MIRRORS", urls)
        monkeypatch.setattr(downloads, "ANSWER", 0.5 if "silent" in manners else 10.0)
        monkeypatch.setattr(downloads, "STALL", 0.5 if "stalled" in manners else 10.0)
        return server.asked

    yield choose
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


BAD = {
    "refusing": "refused",
    "missing": "404",
    "silent": "no answer within 0.5 s",
    "stalled": "timed out",
    "truncated": "truncated: expected .* bytes, received",
    "altered": "expected .* SHA-256 .*, found 100 with",
    "long": "expected at most .* bytes, received more",
}


def test_download(mirrors, cache):
    asked = mirrors("good")
    check(mnist())
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    assert len(asked) == 4
    check(mnist())
    assert len(asked) == 4  # the second time from the cache


def test_a_mirror_may_send_plain_bytes(mirrors):
    mirrors("plain")
    check(mnist())


@pytest.mark.parametrize("manner", BAD)
def test_the_next_mirror_is_asked(mirrors, manner):
    asked = mirrors(manner, "good")
    check(mnist())
    assert [name for m, name in asked if m == "good"] == [f"{name}.gz" for name in NAMES]
    assert sum(m == manner for m, _ in asked) <= 1  # one that failed is not asked again


@pytest.mark.parametrize("manner", BAD)
def test_a_failed_download_leaves_nothing_behind(mirrors, cache, manner):
    mirrors(manner, manner)
    begin = time.perf_counter()
    with pytest.raises(DataUnavailableError, match=f"cannot download {NAMES[0]}.*{BAD[manner]}.*; http.*{BAD[manner]}"):
        mnist()
    assert time.perf_counter() - begin < 5
    assert not cache.parents[1].exists()


def test_only_what_is_missing_is_downloaded(small, mirrors, cache):
    put(cache, {name: small[name] for name in NAMES[:3]}, zipped=False)
    asked = mirrors("good")
    check(mnist())
    assert asked == [("good", f"{NAMES[3]}.gz")]


def test_files_that_came_stay_when_the_rest_does_not(mirrors, cache):
    mirrors("half")
    with pytest.raises(DataUnavailableError, match=f"cannot download {NAMES[1]}"):
        mnist()
    assert [path.name for path in cache.iterdir()] == [f"{NAMES[0]}.gz"]
    mirrors("good")
    check(mnist())


@pytest.mark.parametrize("problem", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["os.replace", "pathlib.Path.write_bytes"])
def test_files_are_written_whole_or_not_at_all(monkeypatch, tmp_path, problem, step):
    def fail(self, *args):
        if step != "os.replace":
            with open(self, "wb") as file:
                file.write(b"half")
        raise problem

    (tmp_path / "file").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(type(problem)):
            downloads._write(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_bytes() == b"old"
    downloads._write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_cache_that_cannot_be_written(mirrors, cache):
    mirrors("good")
    cache.parents[1].write_text("a file where the folder should be")
    with pytest.raises(DataUnavailableError, match=f"downloaded {NAMES[0]}.gz, but cannot write it to {cache}"):
        mnist()


@pytest.mark.mnist
def test_the_real_mnist(mnist_folder, tmp_path):
    train, test = mnist(mnist_folder)
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.image_shape == test.image_shape == (28, 28)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    inputs, targets = next(iter(DataLoader(train, 64)))
    assert inputs.shape == (64, 1, 28, 28) and (inputs.min(), inputs.max()) == (0, 1) and targets.dtype == np.int64
    altered = tmp_path / "mnist"
    altered.mkdir()
    source = mnist_folder / "mnist"
    for path in (source if source.is_dir() else mnist_folder).glob("*-ubyte*"):
        content = path.read_bytes()
        if path.name.startswith(NAMES[3]):
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            content = content[:-1] + bytes([content[-1] ^ 1])
        (altered / path.name).write_bytes(content)
    with pytest.raises(DataError, match=f"{NAMES[3]}.*altered"):
        mnist(tmp_path)


def test_digits():
    train, test = digits()
    assert (len(train), len(test), train.scale, train.classes, train.image_shape) == (1437, 360, 16, 10, (8, 8))
    assert train.images.dtype == train.labels.dtype == np.uint8 and train.images.max() == 16
    assert np.bincount(test.labels).min() >= 33  # no class is rare in the test part
    inputs, _ = train.batch(slice(None))
    assert inputs.dtype == np.float32 and inputs.min() == 0 and inputs.max() == 1


def test_digits_are_those_of_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    train, test = digits()
    np.testing.assert_array_equal(np.concatenate([train.images, test.images]), source.images)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), source.target)


def test_digits_file_is_what_the_tool_makes():
    pytest.importorskip("sklearn")
    tool = Path(__file__).parents[1] / "tools" / "make_digits.py"
    subprocess.run([sys.executable, tool, "--check"], check=True, capture_output=True)


def test_import_stays_light():
    """What only a download needs is imported by a download."""
    code = "import sys, tinybn.data; print({'platformdirs', 'tqdm', 'urllib.request'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
