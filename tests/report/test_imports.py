from __future__ import annotations

import ast
from pathlib import Path

import recstack.report

ALLOWED = (
    "recstack.report",
    "recstack.results",
    "recstack.files",
    "recstack.errors",
    "recstack.quantiles",
    "recstack.types",
)


def test_it_reads_result_files_and_nothing_else() -> None:
    folder = Path(recstack.report.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("recstack."):
                    assert name.startswith(ALLOWED), f"{path}: {name}"
