"""Properties of the source as a whole: which way imports run, how long files are, what is documented."""

import ast
import importlib
import inspect
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinybn

PACKAGE = Path(tinybn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())

# A module may import from its own layer and from those before it.
ORDER = [
    {"errors", "random", "threads", "modes", "silence", "storage", "anomaly", "saved", "hooks", "_edited", "_typing"},
    {"kernels"},
    {"memory"},
    {"ops"},
    {"starts"},
    {"autograd"},
    {"inplace"},
    {"_tensor"},
    {"functional"},
    {"checks"},
    {"user_ops"},
    {"nn"},
    {"optim"},
    {"data"},
    {"train"},
    {"study"},
    {"bench"},
    {"__init__", "__main__"},  # the package itself and its command line see everything
]
LAYER = {name: position for position, names in enumerate(ORDER) for name in names}

# Imported where they are used, so that `import tinybn` does not wait for them.
HEAVY = ["matplotlib", "scipy", "torch", "jax", "sklearn", "tqdm", "multiprocessing", "unittest", "urllib.request"]

MAX_LINES = 400
MAX_ENGINE_LINES = 250


def module_of(path: Path) -> tuple[str, ...]:
    """tinybn/ops/conv.py as ("ops", "conv"), tinybn/ops/__init__.py as ("ops",), tinybn/__init__.py as ()."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Every import statement with the full name of each module that it names."""
    package = ("tinybn", *(module_of(path) if path.stem == "__init__" else module_of(path)[:-1]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield node, f"{source}.{alias.name}"


def layer_of(name: str) -> str:
    """The layer that a full name such as tinybn.ops.conv belongs to. The package's own names come from __init__."""
    part = name.split(".")[1] if "." in name else "__init__"
    return part if part in LAYER else "__init__"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@every_file
def test_imports_run_one_way(path):
    own = (module_of(path) or ("__init__",))[0]
    assert own in LAYER, f"{own} has no place in the order; give it one here and in docs/design.md"
    wrong = [
        f"line {node.lineno}: {name}"
        for node, name in imports(parse(path), path)
        if name.split(".")[0] == "tinybn" and LAYER[layer_of(name)] > LAYER[own]
    ]
    assert not wrong, f"{path.name} is in {own!r}, which stands before what it imports: {wrong}"


@every_file
def test_imports_of_tinybn_stand_at_the_top(path):
    """An import inside a function would hide a circle."""
    tree = parse(path)
    top = {id(node) for node in tree.body}
    for statement in tree.body:  # `if TYPE_CHECKING:` is the top too, and so is a `try:` around what may not be built
        type_checking = isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
        if type_checking or isinstance(statement, ast.Try):
            top |= {id(node) for node in statement.body}
    inside = [
        node.lineno
        for node, name in imports(tree, path)
        if name.startswith("tinybn") and id(node) not in top and not is_compiled(name)
    ]
    assert not inside, f"{path.name} imports tinybn inside a function or class at lines {inside}"


def is_compiled(name: str) -> bool:
    """Whether a name comes from a compiled module. It may be missing, so it is imported where that is dealt with."""
    module = PACKAGE.parent.joinpath(*name.split(".")[:-1])
    return module.with_suffix(".pyi").exists() and not module.with_suffix(".py").exists()


def lines_of_code(path: Path) -> int:
    """Lines with code on them: no blank lines, no comments, no docstrings."""
    source = path.read_text(encoding="utf-8")
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in ignored:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


@every_file
def test_files_stay_small(path):
    limit = MAX_ENGINE_LINES if path.name == "autograd.py" else MAX_LINES
    assert lines_of_code(path) <= limit, f"{path.name} has a second subject: give it a file of its own"


def test_lines_of_code_are_counted(tmp_path):
    path = tmp_path / "sample.py"
    path.write_text(
        '"""Doc\nstring."""\n\n# comment\nx = """a\nb"""  # two lines\n\n\ndef f():\n    """Doc."""\n    return 1\n'
    )
    assert lines_of_code(path) == 4


@pytest.mark.parametrize("package", ["functional", "nn", "optim"])
def test_everything_public_has_a_docstring(package):
    module = importlib.import_module(f"tinybn.{package}")
    assert module.__doc__
    bare = [name for name in module.__all__ if not inspect.getdoc(getattr(module, name))]
    inherited = [
        name
        for name in module.__all__
        if inspect.isclass(getattr(module, name)) and "__doc__" not in vars(getattr(module, name))
    ]
    assert not bare + inherited


def test_heavy_modules_are_not_imported_with_tinybn():
    """Only what `import numpy` has not imported already counts."""
    program = f"""
import sys, numpy
before = set(sys.modules)
import tinybn
print(*(name for name in {HEAVY} if name in set(sys.modules) - before))
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert process.stdout.split() == []
