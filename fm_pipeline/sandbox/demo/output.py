"""What the oracle says, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from fm_pipeline.sandbox.demo.clinic import ComparisonResult

DONE, ERROR = "green", "bold red"


def print_results(console: Console, verdicts: Sequence[ComparisonResult]) -> None:
    """One line for each subject that holds as a whole; what does not hold in full."""
    console.print(Text("\nHeld against the oracle, which knows what must come out:", style="bold"))
    for subject in dict.fromkeys(verdict.subject for verdict in verdicts):
        all_of_it = [verdict for verdict in verdicts if verdict.subject == subject]
        failed = [verdict for verdict in all_of_it if not verdict.holds]
        line = f"{'❌' if failed else '✅'} {len(all_of_it) - len(failed)} of {len(all_of_it)} {subject}"
        console.print(Text(line, style=ERROR if failed else ""))
        for verdict in failed:
            console.print(Padding(Text(f"{verdict.name}: {verdict.found}", style=ERROR), (0, 0, 0, 3)))
    failures = sum(not verdict.holds for verdict in verdicts)
    outcome = f"{failures} of {len(verdicts)} did not hold." if failures else f"All {len(verdicts)} held."
    console.print(Text(outcome, style=ERROR if failures else DONE))
