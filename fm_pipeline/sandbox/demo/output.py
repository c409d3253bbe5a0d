"""Prints the results of the comparisons on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from fm_pipeline.sandbox.demo.clinic import ComparisonResult

DONE, ERROR = "green", "bold red"


def print_results(console: Console, results: Sequence[ComparisonResult]) -> None:
    """Print one line for each subject, and the details of each comparison that failed."""
    console.print(Text("\nCompared with the expected result:", style="bold"))
    for subject in dict.fromkeys(result.subject for result in results):
        all_of_it = [result for result in results if result.subject == subject]
        failed = [result for result in all_of_it if not result.holds]
        line = f"{'❌' if failed else '✅'} {len(all_of_it) - len(failed)} of {len(all_of_it)} {subject}"
        console.print(Text(line, style=ERROR if failed else ""))
        for result in failed:
            console.print(Padding(Text(f"{result.name}: {result.found}", style=ERROR), (0, 0, 0, 3)))
    failures = sum(not result.holds for result in results)
    outcome = f"{failures} of {len(results)} did not hold." if failures else f"All {len(results)} held."
    console.print(Text(outcome, style=ERROR if failures else DONE))
