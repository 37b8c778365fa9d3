"""What the package says about itself: version, files, dependencies, compiler flags, examples."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tinybn as tb

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MODULES = sorted((ROOT / "tinybn").rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def strings(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_one_version() -> None:
    assert tb.__version__ == PROJECT["version"] == importlib.metadata.version("tinybn")


def test_changelog_names_the_version() -> None:
    assert re.search(rf"^## .*{re.escape(PROJECT['version'])}", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_package_data_is_there() -> None:
    for package, patterns in PYPROJECT["tool"]["setuptools"]["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package}: no file matches {pattern}"


def test_every_folder_is_a_package() -> None:
    for module in MODULES:
        assert (module.parent / "__init__.py").exists(), f"{module.parent} has no __init__.py"


def test_every_kernel_source_has_signatures() -> None:
    sources = sorted((ROOT / "kernels").glob("*.pyx"))
    assert sources
    for source in sources:
        assert (ROOT / "tinybn" / "kernels" / f"{source.stem}.pyi").exists(), f"{source.name} has no .pyi"


def test_manifest_names_what_exists() -> None:
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        command, *paths = line.split()
        if command in ("include", "graft"):
            for path in paths:
                assert (ROOT / path).exists(), f"MANIFEST.in: {path}"


def test_imports_are_declared() -> None:
    """What a module imports at its top is a dependency; what a function imports may be an extra.

    So may what a script imports that is run only where the extra is installed.
    """
    required = names(PROJECT["dependencies"])
    optional = required.union(*(names(extra) for extra in PROJECT["optional-dependencies"].values()))
    for module in MODULES:
        tree = parse(module)
        inside = {id(node) for function in functions(tree) for node in ast.walk(function)}
        for node in ast.walk(tree):
            for name in imported(node):
                allowed = (
                    optional if id(node) in inside or module.name in ("with_torch.py", "with_jax.py") else required
                )
                assert name in allowed, (
                    f"{module.relative_to(ROOT)}:{node.lineno} imports {name}, which is not declared"
                )


def names(requirements: list[str]) -> set[str]:
    distributions = {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    return {{"scikit-learn": "sklearn"}.get(name, name.replace("-", "_")) for name in distributions}


def functions(tree: ast.Module) -> list[ast.AST]:
    type_checking = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)] + type_checking


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        found = [node.module or ""]
    else:
        found = []
    tops = [name.partition(".")[0] for name in found]
    return [name for name in tops if name not in sys.stdlib_module_names and name != "tinybn"]


def test_compiler_flags_keep_ieee_arithmetic() -> None:
    flags = {text for text in strings(parse(ROOT / "setup.py")) if re.fullmatch(r"[-/]\S+", text)}
    assert "-ffp-contract=off" in flags
    assert not flags & {"-ffast-math", "-Ofast", "-fassociative-math", "-funsafe-math-optimizations", "/fp:fast"}


def test_every_option_of_the_build_is_explained() -> None:
    tree = parse(ROOT / "setup.py")
    explanation = ast.get_docstring(tree) or ""
    options = {text for text in strings(tree) if re.fullmatch(r"TINYBN_[A-Z_]+", text)}
    macros = {"TINYBN_FLAGS"}
    assert "TINYBN_SANITIZE" in options
    for option in options - macros:
        assert f"``{option}=" in explanation, f"setup.py does not explain {option}"


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_explains_itself_and_has_a_short_form(path: Path) -> None:
    explanation = ast.get_docstring(parse(path))
    assert explanation, f"{path.name} has no docstring"
    assert f"python examples/{path.name} --quick" in explanation
    usage = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--quick" in usage
