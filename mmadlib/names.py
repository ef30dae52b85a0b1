r"""Names are data: a name that a user gave to a folder, a file or a variant is shown as it stands and means nothing else.

File names hold any bytes. What a reader cannot see (bytes that are no UTF-8, control characters, marks that turn the writing
direction) is shown as an escape such as \xff, and what the place would read as markup, mathematics or a formula is taken
literally there.
"""

from __future__ import annotations

import re

UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")  # what spreadsheets calculate, also with apostrophes of ours before it
NUMBER = re.compile(r"'*(.|[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)")  # a number, or a single character: no formula
MARKUP = re.compile(r"[\\|<$]|&(?=#?\w+;)|\](?=\()")  # of Markdown


def printable(text: str, keep: str = "") -> str:
    r"""Text without what cannot be seen, but for the characters in `keep`; always UTF-8.

    >>> print(printable("pi\udce8ce\n"))
    pi\xe8ce\x0a
    """
    return "".join(_escaped(c) if c not in keep else c for c in text) if UNSEEN.search(text) else text


def _escaped(character: str) -> str:
    if not UNSEEN.match(character):
        return character
    code = ord(character)
    code -= 0xDC00 if 0xDC80 <= code <= 0xDCFF else 0  # a byte that is no UTF-8, as Python reads file names
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def plotted(text: object) -> str:
    r"""Text that matplotlib draws as it stands: no mathematics between dollars.

    >>> print(plotted("$x$ and \\alpha"))
    \$x\$ and \alpha
    """
    return printable(str(text)).replace("$", r"\$")


def markdown(text: object) -> str:
    r"""Text in Markdown, also in a cell of a table: no HTML, no [text](link) or picture, no mathematics, no further cells.

    >>> print(markdown("<img src=x> | [a](b) &lt;"))
    &lt;img src=x> \| [a\](b) &amp;lt;
    """
    return MARKUP.sub(lambda found: {"<": "&lt;", "&": "&amp;"}.get(found[0], "\\" + found[0]), printable(str(text)))


def cell(text: str) -> str:
    """Text in CSV: what a spreadsheet would calculate stands behind an apostrophe; `from_cell` takes it away.

    >>> cell("=1+1"), cell("'=1+1"), cell("-0.25"), cell("a=b")
    ("'=1+1", "''=1+1", '-0.25', 'a=b')
    """
    text = printable(text, keep="\t\r\n")
    return f"'{text}" if _formula(text) else text


def from_cell(text: str) -> str:
    """The text that `cell` was given, if all of it can be seen.

    >>> from_cell(cell("@sum")), from_cell("'n' trays")
    ('@sum', "'n' trays")
    """
    return text[1:] if text.startswith("'") and _formula(text) else text


def _formula(text: str) -> bool:
    return bool(FORMULA.match(text)) and not NUMBER.fullmatch(text)
