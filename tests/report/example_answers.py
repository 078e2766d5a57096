"""Parts of a report for tests: a table as printed, and a column by cell."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from darl.report.findings import Findings


def shown(table: Table) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def column(findings: Findings, name: str) -> Mapping[str, Any]:
    return findings.table.set_index("cell")[name].to_dict()
