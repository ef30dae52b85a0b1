"""Reading the small text files beside the pictures. Every fault becomes one DataError that names the file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from mmadlib.errors import DataError, explain


def read_mapping(path: Path, parse: Callable[[str], Any], remedy: str = "copy the file again") -> dict:
    """The named values that `parse` (json.loads, yaml.safe_load) finds. Raises DataError when it is none or unreadable."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as err:
        raise DataError(explain(path, f"cannot be read ({' '.join(str(err).split())})", remedy)) from None
    if not isinstance(content, dict):
        raise DataError(explain(path, "holds no named values", remedy))
    return content


def read_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Rows of a CSV file by column. Raises DataError when it is no UTF-8 text or lacks one of `columns`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, found = list(reader), reader.fieldnames or []
    except (OSError, ValueError, csv.Error) as err:
        raise DataError(explain(path, f"cannot be read ({err})", "store it as comma-separated UTF-8 text")) from None
    if not set(columns) <= set(found):
        raise DataError(explain(path, f"has the columns {', '.join(found) or 'none'}",
                                f"the columns {' and '.join(columns)} are needed"))
    return rows
