"""Tables in Markdown."""

from collections.abc import Sequence


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join([lines[0], "| --- " * len(table[0]) + "|", *lines[1:]])
