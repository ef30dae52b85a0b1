"""Tables beside the pictures. Every fault becomes one DataError that names the file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mmadlib.errors import DataError, explain
from mmadlib.untrusted import read_text

BYTES = 2**26  # of a table; a row for every sample of the largest dataset here takes 2**20


def read_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Rows of a CSV file by column. Raises DataError when it is no UTF-8 text or lacks one of `columns`."""
    remedy = "store it as comma-separated UTF-8 text"
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, limit=BYTES, remedy=remedy), newline=""))
        rows, found = list(reader), reader.fieldnames or []
    except csv.Error as err:
        raise DataError(explain(path, f"cannot be read ({err})", remedy)) from None
    if not set(columns) <= set(found):
        raise DataError(explain(path, f"has the columns {', '.join(found) or 'none'}",
                                f"the columns {' and '.join(columns)} are needed"))
    return rows
