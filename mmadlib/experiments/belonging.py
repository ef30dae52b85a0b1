"""Which runs belong to the tables in git: those of the committed plans, on the data behind the tables; and where others go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmadlib.experiments.causes import made_by, shipped, short, usual
from mmadlib.experiments.grids import PARAMS
from mmadlib.experiments.params import read_yaml
from mmadlib.experiments.plan import read_plan
from mmadlib.experiments.record import KEYS, Record, plain
from mmadlib.paths import WORKFLOW
from mmadlib.pinned import pinned

PLANS = (WORKFLOW / "config.yaml", WORKFLOW / "plans")


def strangers(records: Sequence[Record], known: pd.DataFrame) -> list[str]:
    """Why each run does not belong to the tables whose runs.csv is `known`, "" where it does.

    A run belongs when it was made as the tables are (`_unusual`), has the settings of the row with its keys or of a committed
    plan, and the data of that row; rows from before data were recorded are known to be of the same where the library makes
    them. Raises SettingsError for a plan that cannot be read.
    """
    rows = {tuple(map(str, row[:-2])): row[-2:] for row in known[[*KEYS, "settings", "data"]].itertuples(index=False)}
    other = {r.dataset for r in records if _text(r.settings) != rows.get(_key(r), ("", ""))[0]}
    planned = {key: text for place, key, text in _planned(other) if not place} if other else {}
    why = []
    for record in records:
        settings, data = rows.get(_key(record), ("", ""))
        why.append(_why(record, settings, data, planned.get(_key(record), "")))
    return why


def apart(records: Sequence[Record]) -> list[str]:
    """The folder below results/ of a committed plan with `folder` that has each run, with its settings, made as those of the
    tables; "" for no such plan. Raises SettingsError for a plan that cannot be read."""
    planned = {(key, text): place for place, key, text in _planned({r.dataset for r in records}) if place}
    return ["" if _unusual(r) else planned.get((_key(r), _text(r.settings)), "") for r in records]


def _key(record: Record) -> tuple[str, ...]:
    return tuple(str(record.keys[k]) for k in KEYS)


def _unusual(record: Record) -> str:
    """What sets a run apart from those of the tables, whatever was measured: they are on the usual root and all test samples,
    pinned (mmadlib.pinned), on the CPU, which alone gives the same bits everywhere, and with the weights of the packages."""
    if not usual(record.causes, "root"):
        return "another root"
    if not usual(record.causes, "test_limit"):
        return "some of the test samples"
    if not _was_pinned(record):
        return "not pinned"
    if record.device != "cpu":
        return "not on the CPU"
    expected = shipped(record.settings.get("features", {}))
    return "other weights" if expected and record.causes.get("weights") != short(expected) else ""


def _why(record: Record, settings: str, data: str, planned: str) -> str:
    if unusual := _unusual(record):
        return unusual
    if not settings and not planned:
        return "in no plan"
    if _text(record.settings) not in (settings, planned):
        return "other settings"
    if data and data != record.provenance.get("data"):
        return "other data"
    if not data and settings and not made_by(record.dataset):
        return "data that the tables do not name"
    return ""


def _was_pinned(record: Record) -> bool:
    """Also what does not say so was not: it is from before there was anything to be pinned by."""
    said = record.provenance.get("pinned")
    return isinstance(said, str) and said != "" and pinned(said)


def _text(settings: Any) -> str:
    return json.dumps(json.loads(json.dumps(plain(settings), default=str)), sort_keys=True)


def _planned(datasets: Iterable[str]) -> Iterable[tuple[str, tuple[str, ...], str]]:
    """`folder` of the plan, "" of the tables, keys and settings of the runs of the committed plans on some datasets."""
    wanted = set(datasets)
    for file in sorted({p for place in PLANS for p in ([place] if place.is_file() else Path(place).glob("*.yaml"))}):
        plan = read_yaml(file)
        sweeps = [s for s in plan.get("sweeps", []) if read_yaml(PARAMS / s["params"]).get("dataset") in wanted]
        for cell in read_plan({"sweeps": sweeps}):
            shots = "full" if cell.shots is None else str(cell.shots)
            keys = {k: str(getattr(cell, k)) for k in KEYS} | {"shots": shots}
            yield str(plan.get("folder", "")), tuple(keys[k] for k in KEYS), _text(cell.expected())
