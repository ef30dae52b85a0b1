"""A table as CSV, Markdown and LaTeX (booktabs) with its caption; the same table gives the same bytes.

CSV holds numbers where the caller has them, the other two what a reader sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mmadlib.atomic import atomic
from mmadlib.errors import OutputError, explain
from mmadlib.names import cell, markdown, printable
from mmadlib.paths import here, shown

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
         "[": "{[}", "<": r"\textless{}", ">": r"\textgreater{}", **{c: "\\" + c for c in "&%$#_{}"}}
MINUS = re.compile(r"(?<![\w.)])-(?=\d)")  # a sign, not the hyphen of a name or a range


def latex(text: str) -> str:
    r"""Text that LaTeX prints as it stands; a bare [ at the start of a line would be an argument of the line break before.

    >>> print(latex("CPIR [ours_pred*] -0.1 ± 50 %"))
    CPIR {[}ours\_pred*] $-$0.1 $\pm$ 50 \%
    """
    return MINUS.sub("$-$", "".join(LATEX.get(c, c) for c in printable(text)))


def _grid(table: pd.DataFrame) -> tuple[list[str], list[list[str]], int]:
    """Heading, lines, number of columns that name a line, one at least; floats with three decimals, "-" for none."""
    names = [str(n or "") for n in table.index.names]
    numbered = not any(names)  # an index without a name says nothing
    flat = table if numbered else table.reset_index(names=[f"{i}" for i in range(len(names))])

    def show(v: object) -> str:
        if isinstance(v, float):
            return f"{v:.3f}" if v == v else "-"
        return str(v)

    lines = [[show(v) for v in line] for line in flat.astype(object).itertuples(index=False, name=None)]
    return ([] if numbered else names) + [str(c) for c in table.columns], lines, 1 if numbered else len(names)


def _safe(value: Any) -> Any:
    return cell(value) if isinstance(value, str) else value


def to_markdown(table: pd.DataFrame, caption: str) -> str:
    """A GitHub table under its caption."""
    heading, lines, labels = _grid(table)
    rule = ["---"] * labels + ["---:"] * (len(heading) - labels)
    body = ["| " + " | ".join(map(markdown, line)) + " |" for line in [heading, rule, *lines]]
    return "\n".join([markdown(caption), "", *body]) + "\n"


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """A table float with booktabs rules; needs \\usepackage{booktabs}."""
    heading, lines, labels = _grid(table)
    rows = [" & ".join(map(latex, line)) + r" \\" for line in [heading, *lines]]
    return "\n".join([
        r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{'l' * labels}{'r' * (len(heading) - labels)}}}", r"\toprule", rows[0], r"\midrule",
        *rows[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def export(table: pd.DataFrame, name: str, folder: str | Path, caption: str,
           numbers: pd.DataFrame | None = None) -> list[Path]:
    """Write name.csv, name.md and name.tex into `folder`; the caption says what the numbers are and where they come from.

    numbers   what the CSV holds instead of the shown text. Raises OutputError when the folder cannot be written.
    """
    folder = here(folder)
    plain = table if numbers is None else numbers
    safe = plain.rename(columns=_safe, index=_safe).map(_safe)
    texts = {".csv": safe.to_csv(index=any(plain.index.names), float_format="%.4f", lineterminator="\n"),
             ".md": to_markdown(table, caption), ".tex": to_latex(table, caption, name)}
    written = []
    for suffix, content in texts.items():
        try:
            with atomic(folder / f"{name}{suffix}") as temporary:
                temporary.write_text(content, encoding="utf-8", newline="\n")
        except OSError as err:
            raise OutputError(explain(shown(folder), f"cannot be written ({err.strerror or err})",
                                      "give another folder")) from None
        written.append(folder / f"{name}{suffix}")
    return written


def export_all(tables: Iterable[tuple], folder: str | Path) -> list[Path]:
    """`export` for each (table, name, caption[, numbers]); all files written."""
    return [path for table, name, caption, *rest in tables for path in export(table, name, folder, caption, *rest)]
