"""Every Python program in the README and in docs/ runs, and the links between the documents lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_programs_run(path: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(path):
        exec(compile(block, path.name, "exec"), names)


def test_readme_program_is_short_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = blocks(ROOT / "README.md")
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    exec(program, {})
    accuracy = float(re.search(r"accuracy=([\d.]+)", capsys.readouterr().out)[1])
    assert accuracy > 0.85


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing
