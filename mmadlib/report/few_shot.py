"""Few-shot tables: mean and standard deviation over draws, for one of two protocols that are never mixed.

A: 5, 10, 50 shots and all, random draws (CPIR Sec. 4.5, Table 7). B: 1, 2 and 4 shots by one fixed draw (CFR; CMDS-AD).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from mmadlib.errors import SettingsError, unknown
from mmadlib.experiments.cells import Cell, adapt
from mmadlib.methods import METHODS
from mmadlib.report.draws import CELL, DRAW, note, over_draws, per_draw
from mmadlib.report.rows import Row
from mmadlib.report.tables import OUR_METRICS, SUBSET_ORDER, on_features, select

PROTOCOLS = {"A": ("5", "10", "50", "full"), "B": ("1", "2", "4")}


def protocol_of(shots: Iterable[object]) -> str:
    """A or B. Raises SettingsError when the shots are of both protocols or of none."""
    given = [str(k) for k in shots]
    for name, members in PROTOCOLS.items():
        if given and set(given) <= set(members):
            return name
    a, b = (", ".join(members) for members in PROTOCOLS.values())
    raise SettingsError(f"shots {', '.join(given) or 'none'}: a table is of protocol A ({a}; random draws) or of B ({b}; the "
                        "fixed draw), whose numbers are not comparable")


@dataclass(frozen=True)
class Plan:
    """What a table should hold; its cells say where less was run.

    shots as in results.csv ("full": all); draws are pairs (data_seed, seed). Raises SettingsError when shots mix protocols.
    """

    dataset: str
    features: str
    categories: tuple[str, ...]
    shots: tuple[str, ...]
    draws: tuple[tuple[int, int], ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        protocol_of(self.shots)

    @classmethod
    def of(cls, cells: Sequence[Cell], features: str = "") -> Plan:
        """The plan of a sweep (grids.read_sweep). Methods that the sweep leaves out get a row all the same: not run.

        features  only the runs on these, or on what stands for them in a row with inputs of its own; default: of the first.
                  A sweep that has none on them is taken as if it were on them: `mmadlib sweep --features` ran it so
        Raises SettingsError for a sweep without runs, or when the shots mix protocols.
        """
        features = features or next((c.features for c in cells), "")
        found = [c for c in cells if c.features == Row(c.method, c.variant).inputs(features)]
        cells = found or adapt(cells, features=features or None)
        if not cells:
            raise SettingsError("no runs to make a table of: the sweep is empty")

        def values(name: str) -> tuple:
            return tuple(dict.fromkeys(getattr(c, name) for c in cells))

        rows = [Row(*key) for key in dict.fromkeys((c.method, c.variant) for c in cells)]
        rows += [Row(m) for m in METHODS if m not in {r.method for r in rows}]
        rows.sort(key=lambda r: (r.sanity, list(METHODS).index(r.method)))
        draws = dict.fromkeys((c.data_seed, c.seed) for c in cells)
        return cls(cells[0].dataset, features, values("category"), tuple(str(k or "full") for k in values("shots")),
                   tuple(draws), tuple(rows))

    @property
    def protocol(self) -> str:
        return protocol_of(self.shots)

    @property
    def size(self) -> int:
        """Number of runs."""
        return len(self.categories) * len(self.shots) * len(self.draws) * len(self.rows)

    def only(self, category: str = "all", methods: str = "all") -> Plan:
        """The part with the categories and methods of comma-separated lists. Raises UnknownName for what is not planned."""
        wanted = {}
        for kind, asked, there in (("category", category, set(self.categories)),
                                   ("method", methods, {r.method for r in self.rows})):
            wanted[kind] = there if asked == "all" else {name.strip() for name in asked.split(",")}
            for name in wanted[kind] - there:
                raise unknown(f"planned {kind}", name, there)
        return replace(self, categories=tuple(c for c in self.categories if c in wanted["category"]),
                       rows=tuple(r for r in self.rows if r.method in wanted["method"]))


def planned(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """`per_draw` of the plan's rows, shots and draws alone, with their names."""
    draws = per_draw(on_features(select(table, dataset=plan.dataset), plan.features), plan.categories)
    keep = (pd.MultiIndex.from_frame(draws[DRAW]).isin(plan.draws) & draws["shots"].isin(plan.shots)
            & pd.MultiIndex.from_frame(draws[["method", "variant"]]).isin([(r.method, r.variant) for r in plan.rows]))
    return _named(draws[keep].reset_index(drop=True))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    table.insert(0, "name", [Row(m, v).name for m, v in zip(table["method"], table["variant"], strict=True)])
    return table


def whole(draws: pd.DataFrame) -> pd.DataFrame:
    """The draws of `planned` that have all their categories: what curves are drawn from."""
    return draws[draws["found"] == draws["needed"]]


def summary(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Every cell of the plan, run or not: CELL, name, mean, std, low, high, n, found, needed, note.

    The subsets and metrics are those that any run of the dataset has; all metrics of tables.OUR_METRICS where none was run.
    """
    seen = on_features(select(table, dataset=plan.dataset), plan.features)[["subset", "metric"]].drop_duplicates()
    kinds = list(seen.itertuples(index=False, name=None)) or [("all", m) for m in OUR_METRICS]
    cells = [(r.method, r.variant, k, *kind) for kind in kinds for r in plan.rows for k in plan.shots]
    full = over_draws(planned(table, plan)).set_index(CELL).reindex(pd.MultiIndex.from_tuples(cells, names=CELL)).reset_index()
    full["n"] = full["n"].fillna(0).astype(int)
    counts = full[["found", "needed", "n"]].itertuples(index=False)
    full["note"] = [note(found, needed, n, len(plan.draws)) for found, needed, n in counts]
    return _named(full)


def cell(mean: float, std: float, n: int, note: str) -> str:
    """0.912 ± 0.013, with what is missing behind it; the deviation of a single draw is "-"."""
    if n == 0:
        return note
    return f"{mean:.3f} ± {f'{std:.3f}' if n > 1 else '-'}" + (f" ({note})" if note else "")


def wide(cells: pd.DataFrame, columns: str = "shots", **where: object) -> pd.DataFrame:
    """`summary` as text, a row per method; `columns` shots, subset or metric, the other two fixed by `where`.

    Raises SettingsError when `where` leaves more than one number to a cell, or shots of both protocols.
    """
    chosen = select(cells, **where)
    protocol_of(chosen["shots"].unique() if len(chosen) else ())
    if chosen.duplicated(["name", columns]).any():
        raise SettingsError(f"several numbers a cell: fix two of shots, subset and metric, not {', '.join(where)}")
    chosen = chosen.assign(text=[cell(*x) for x in chosen[["mean", "std", "n", "note"]].itertuples(index=False)])
    order = {"subset": SUBSET_ORDER, "metric": list(OUR_METRICS)}.get(columns, chosen[columns].unique())
    table = chosen.pivot(index="name", columns=columns, values="text").reindex(chosen["name"].unique())
    table = table[[c for c in order if c in table]].rename(columns=OUR_METRICS)
    return table.rename_axis(None, axis=1).rename_axis("method")
