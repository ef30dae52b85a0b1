"""Write what was said of parts: a table, overlays, maps, a contact sheet and one page to read it all in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tifffile

from mmadlib.errors import SettingsError
from mmadlib.inspection import html
from mmadlib.inspection.cloud import cloud
from mmadlib.inspection.colours import scale_of
from mmadlib.inspection.overlay import overlay, save
from mmadlib.inspection.replacing import replacing
from mmadlib.inspection.scores import write_scores
from mmadlib.inspection.sheet import Pages, shown, tile
from mmadlib.inspection.stems import stems
from mmadlib.inspection.verdicts import Thresholds, Verdict
from mmadlib.inspection.views import view
from mmadlib.progress import bar
from mmadlib.sample import Sample


def write_report(out: str | Path, samples: Sequence[Sample], verdicts: Sequence[Verdict], thresholds: Thresholds, *,
                 title: str = "", html3d: int = 0, ranking: bool = False, about: dict[str, str] | None = None,
                 progress: bool = True) -> Path:
    """Write a report on parts into the folder `out` and return it.

    samples   the parts, aligned with verdicts; each is read once, one at a time; one that cannot be read is shown empty
    html3d    how many of the worst parts have their coloured cloud in the page, about 0.6 MB each
    ranking   the verdicts are a cut in a ranking without fit, which promises nothing
    about     what else the page says of how it came about, e.g. {"method": "cpir"}

        scores.csv            a line a part: score, p-value, verdict, reason, regions ... (mmadlib.inspection.scores)
        overlays/PART.png     picture, relief, map on one colour scale, regions outlined
        maps/PART.tiff        the map, float32 on the scan's pixel grid, NaN where nothing was looked at
        contact_sheet.png     every part with what was kept of it; contact_sheet-2.png ... from 41 parts on
        report.html           all of it in one page without a network

    The folder appears whole or not at all; an earlier report in it is replaced. Raises OutputError where it holds other files
    or cannot be written, SettingsError where samples and verdicts do not belong together.
    """
    if len(samples) != len(verdicts) or not verdicts:
        raise SettingsError(f"{len(samples)} samples and {len(verdicts)} verdicts: one verdict for each part is needed")
    names, scale, ranks = stems(v.part for v in verdicts), scale_of(verdicts, thresholds), html.order(verdicts)
    entries: list[dict[str, Any]] = [{} for _ in verdicts]
    with replacing(out) as folder:
        for kind in ("overlays", "maps"):
            (folder / kind).mkdir()
        sheet, worst = Pages(folder / "contact_sheet.png", len(verdicts)), set(ranks[:html3d])
        for i in bar(range(len(verdicts)), "report", progress):
            verdict = verdicts[i]
            sample = shown(samples, i, verdict.map.shape)
            _belongs(sample, verdict)
            seen = view(sample, verdict, scale)
            badge = html.RANKED[verdict.verdict] if ranking else verdict.verdict
            save(overlay(seen, verdict, scale, i + 1, badge), folder / "overlays" / f"{names[i]}.png")
            tifffile.imwrite(folder / "maps" / f"{names[i]}.tiff", verdict.map, compression="zlib", metadata=None, software="")
            note = verdict.reason if verdict.verdict == "not comparable" else " ".join(verdict.warnings)
            sheet.add(tile(sample, verdict.foreground), verdict.part, note)
            entries[i] = html.entry(seen, verdict, cloud(sample, verdict, scale) if i in worst else None)
        write_scores(folder / "scores.csv", verdicts, names)
        text = html.page([entries[i] for i in ranks], verdicts, thresholds, scale, title=title, ranking=ranking, about=about)
        (folder / "report.html").write_text(text, encoding="utf-8", newline="\n")
    return Path(out)


def _belongs(sample: Sample, verdict: Verdict) -> None:
    if verdict.map.shape != sample.size or verdict.foreground.shape != sample.size:
        raise SettingsError(f"part {verdict.part!r}: its map is {verdict.map.shape} and its scan {sample.size}; give the "
                            "samples that the verdicts are about, in the same order")
