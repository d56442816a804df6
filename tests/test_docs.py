"""What the documents tell people to type is there: commands, options, files, Python."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from recstack.cli.app import app
from recstack.precision.plan import parse_plan
from recstack.tune.deployment import Deployment

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name not in ("CHANGELOG.md", "LOG.md")
)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def commands(text: str) -> Iterator[str]:
    """Lines of code blocks that begin with `recstack`, joined where cut, without comments."""
    fenced = False
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        fenced ^= line.startswith("```")
        if (fenced or line.startswith("    ")) and (
            found := re.match(r"\s*(?:for .*; do )?recstack ([a-z].*)", line)
        ):
            yield re.split(r"\s+#|;", found[1])[0]


def inline(text: str) -> Iterator[str]:
    """What stands in backticks and begins with `recstack`."""
    yield from re.findall(r"`recstack ([a-z][^`]*)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page: Path) -> None:
    text = page.read_text()
    for line in commands(text):
        verb, *arguments = shlex.split(line)
        COMMANDS[verb].make_context(verb, arguments)  # raises for what it does not know
    for line in inline(text):
        verb, *rest = line.split()
        known = {option for param in COMMANDS[verb].params for option in param.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line


def test_every_command_has_an_example() -> None:
    shown = {line.split()[0] for line in commands((ROOT / "docs" / "cli.md").read_text())}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_option_stands_in_a_document(verb: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    params = [param for param in COMMANDS[verb].params if param.param_type_name == "option"]
    for param in params:
        named = [o for o in (*param.opts, *param.secondary_opts) if o.startswith("--")]
        shown = (re.search(rf"{re.escape(o)}(?![\w-])", text) for o in named)
        assert param.name == "help" or any(shown), named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_plans_and_deployments_are_read(page: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
        if block.startswith("format"):
            parse_plan(block, str(page))
        else:
            Deployment.model_validate({"model": "any", **tomllib.loads(block)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("LOUD: no git repository, the files that documents name are NOT checked")
    files = listed.stdout.split()
    known = {*files, *(str(parent) for name in files for parent in Path(name).parents)}
    known |= {name.rpartition(".")[0] for name in known}
    for quoted in re.findall(r"`([\w./*-]*/[\w./*-]*)[:`]", page.read_text()):
        name = quoted.lstrip("./").rstrip("/")
        if quoted.startswith(("out", "OUT", "/", "id/", ".venv")):
            continue
        assert any(fnmatch.fnmatch(one, f"*{name}") for one in known), quoted


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("rows_scale=0.01", "rows_scale=0.001"), "README.md", "exec"), {})
    assert (tmp_path / "out" / "rm2" / "model.json").exists()
