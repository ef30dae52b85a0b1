"""One self-contained page: every part with its verdict, sorted by score, a threshold to move, each part in the large.

The page is read from a file: it asks nothing of any network, its Content-Security-Policy forbids that, and what runs in it is
named by hash. Names are data, in the page's text by escaping and in its script by textContent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from mmadlib.inspection.colours import Scale, palette
from mmadlib.inspection.overlay import area
from mmadlib.inspection.pictures import large, thumbnail
from mmadlib.inspection.verdicts import BAD, GOOD, NOT_COMPARABLE, Region, Thresholds, Verdict
from mmadlib.inspection.views import DRAWN, View
from mmadlib.names import printable

KINDS = (BAD, NOT_COMPARABLE, GOOD)
WORDS = {BAD: "bad", NOT_COMPARABLE: "not comparable", GOOD: "good"}
RANKED = {BAD: "above the cut", NOT_COMPARABLE: "not comparable", GOOD: "below the cut"}  # a ranking calls nothing bad
SIGNS = {BAD: "✕", NOT_COMPARABLE: "?", GOOD: "✓"}  # not by colour alone
PLACES = {BAD: "▲", NOT_COMPARABLE: "?", GOOD: "▽"}  # of a ranking


def entry(view: View, verdict: Verdict, cloud: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page holds of one part, ready for JSON but for "thumb", which stands in its text."""
    height, width = view.picture.shape[:2]
    regions = [_region(region, lines) for region, lines in zip(verdict.regions, view.rings, strict=False)]
    return {"name": printable(verdict.part), "verdict": verdict.verdict, "score": _number(verdict.score),
            "p": _number(verdict.p_value), "holed": verdict.holed, "reason": printable(verdict.reason),
            "speaks": verdict.speaks,
            "warnings": [printable(w) for w in verdict.warnings], "regions": regions,
            "more": max(0, len(verdict.regions) - DRAWN), "size": [width, height], "pictures": large(view), "cloud": cloud,
            "thumb": thumbnail(view)}


def page(entries: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict], thresholds: Thresholds, scale: Scale, *,
         title: str = "", ranking: bool = False, about: Mapping[str, str] | None = None) -> str:
    """The page as text, the parts of `entries` in order; see `entry`. ranking: verdicts are a cut in a ranking."""
    at = cut(verdicts, thresholds)
    clouds = any(e["cloud"] for e in entries)
    words, signs = (RANKED, PLACES) if ranking else (WORDS, SIGNS)
    facts = {"threshold": _number(at), "ranking": ranking, "promised": thresholds.promised, "asked": thresholds.asked,
             "good_parts": thresholds.parts, "words": words, "signs": signs,
             "scale": [_number(scale.low), _number(scale.high), _number(scale.threshold)],
             "palette": base64.b64encode(palette().tobytes()).decode() if clouds else "",
             "parts": [{k: v for k, v in e.items() if k != "thumb"} for e in entries]}
    script = (_text("cloud.js") if clouds else "") + _text("large.js") + _text("report.js")
    counts = {kind: sum(v.verdict == kind for v in verdicts) for kind in KINDS}
    filled = {"TITLE": escape(printable(title or "Inspection report")), "STYLE": _text("report.css"), "SCRIPT": script,
              "STYLE_HASH": _hash(_text("report.css")), "SCRIPT_HASH": _hash(script),
              "PROMISE": escape(printable(thresholds.how)), "COUNTS": _counts(counts, words, signs, len(entries)),
              "SORTED": "a ranking without a promise" if ranking else "worst first",
              "CARDS": "\n".join(_card(i, e, words, signs) for i, e in enumerate(entries)),
              "ABOUT": _about(about or {}, thresholds, ranking), "KIND": "ranking" if ranking else "judged",
              "LEVEL": "Cut" if ranking else "Threshold",
              "DATA": json.dumps(facts, separators=(",", ":")).translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})}
    pieces = _text("report.html").split("@@")  # text, key, text, key ...: what is filled in is never looked at again
    return "".join(filled[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def order(verdicts: Sequence[Verdict]) -> list[int]:
    """Places of the parts as a report shows them: highest score first, those without one at the end."""
    return sorted(range(len(verdicts)), key=lambda i: (math.isnan(verdicts[i].score), -verdicts[i].score, i))


def cut(verdicts: Sequence[Verdict], thresholds: Thresholds) -> float:
    """Above which score a part is bad: the threshold, or for a ranking the middle of its gap; NaN without scores."""
    if math.isfinite(thresholds.image):
        return float(thresholds.image)
    scores = {kind: [v.score for v in verdicts if v.verdict == kind and math.isfinite(v.score)] for kind in (GOOD, BAD)}
    ends = [f(scores[kind]) for kind, f in ((GOOD, max), (BAD, min)) if scores[kind]]
    return float(sum(ends) / len(ends)) if len(ends) == 2 else float(ends[0]) if ends else math.nan


def _card(i: int, e: Mapping[str, Any], words: Mapping[str, str], signs: Mapping[str, str]) -> str:
    score = "–" if e["score"] is None else f"{e['score']:.4g}"
    p = "" if e["p"] is None else f'<span class="p">p {e["p"]:.3f}</span>'
    kind, name = e["verdict"], escape(e["name"])
    said = escape(e["reason"] if kind == NOT_COMPARABLE else " · ".join([*_found(e), *e["warnings"]]))
    return (f'<li class="card" data-i="{i}" data-verdict="{kind}"><button type="button" aria-haspopup="dialog">'
            f'<img src="{e["thumb"]}" alt="Picture and anomaly map" width="302" height="150" decoding="async">'
            f'<span class="name">{name}</span><span class="line"><span class="badge">{signs[kind]} {words[kind]}</span>'
            f'<span class="score">{score}</span>{p}</span><span class="said">{said}</span></button></li>')


def _found(e: Mapping[str, Any]) -> list[str]:
    """How many regions, the area of the highest and which modality speaks; nothing where there are none."""
    many = len(e["regions"]) + e["more"]
    return [f"{many} region{'s' * (many != 1)}", e["regions"][0]["area"], *filter(None, [e["speaks"]])] if many else []


def _counts(counts: Mapping[str, int], words: Mapping[str, str], signs: Mapping[str, str], total: int) -> str:
    buttons = [f'<button type="button" class="count" data-filter="" aria-pressed="true"><b id="n-all">{total}</b> '
               f'part{"s" * (total != 1)}</button>']
    buttons += [f'<button type="button" class="count" data-filter="{kind}" aria-pressed="false"><b>{counts[kind]}</b> '
                f'<span>{signs[kind]} {words[kind]}</span></button>' for kind in KINDS]
    return "\n".join(buttons)


def _about(about: Mapping[str, str], thresholds: Thresholds, ranking: bool) -> str:
    facts = {} if ranking else {
        "threshold": f"{thresholds.image:.4g} for a part, {thresholds.pixel:.4g} for a pixel",
        "false alarms": f"asked {thresholds.asked:g}, promised {'nothing' if thresholds.promised is None else ''}"
                        f"{'' if thresholds.promised is None else f'{thresholds.promised:.3g}'}",
        "good parts": f"{thresholds.parts}; {thresholds.needed} are needed for the rate that was asked for"}
    return "\n".join(f"<dt>{escape(printable(k))}</dt><dd>{escape(printable(str(v)))}</dd>"
                     for k, v in {**about, **facts}.items())


def _region(region: Region, lines: Sequence[Any]) -> dict[str, Any]:
    path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring) + "Z" for ring in lines)
    return {"area": area(region), "peak": f"{region.peak:.4g}", "at": list(region.peak_at), "speaks": region.speaks,
            "path": path}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
