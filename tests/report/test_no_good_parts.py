"""Rows of batches without good parts: means of draws over categories, sizes in order, other methods left out."""

import pandas as pd
import pytest

from mmadlib.report.no_good_parts import no_good_parts, parts_of


def table(**more):
    rows = [{"dataset": "rendered", "data_seed": d, "category": c, "method": "musc", "variant": "default",
             "features": "learned", "shots": k, "seed": d - 1, "subset": "all", "metric": m,
             "value": v + 0.1 * d + (0.2 if c == "free" else 0)}
            for d in (1, 2) for c in ("keyed", "free") for k, v in (("full", 0.3), ("24", 0.2), ("8", 0.1))
            for m in ("i_auroc", "aupro_30")]
    rows += [rows[0] | {"method": "nearest"}, rows[0] | {"variant": "cae"}, rows[0] | {"subset": "rgb"}]
    return pd.DataFrame([row | more for row in rows])


def test_sizes_stand_in_order_and_hold_the_mean_of_the_draws():
    shown = no_good_parts(table())
    assert list(shown.index) == [("MuSc-V2", f"{k} parts at once") for k in ("8", "24", "all")]
    assert list(shown.columns) == ["I-AUROC", "AUPRO@30"] and shown.index.names[1] == "no good parts"
    assert shown["I-AUROC"].tolist() == ["0.350 ± 0.071", "0.450 ± 0.071", "0.550 ± 0.071"]


def test_a_draw_without_a_category_does_not_count():
    rows = table()
    rows = rows[~((rows["category"] == "free") & (rows["data_seed"] == 2) & (rows["shots"] == "8"))]
    assert no_good_parts(rows)["I-AUROC"].tolist()[0] == "0.300 ± - (1 of 2 draws)"


def test_a_size_that_was_not_run_says_so():
    rows = table()
    shown = no_good_parts(rows[rows["shots"] != "24"])
    assert shown.loc[("MuSc-V2", "24 parts at once")].tolist() == ["not run", "not run"] and len(shown) == 3
    more = no_good_parts(pd.concat([rows, rows[rows["shots"] == "8"].assign(shots="9")]))
    assert list(more.index.get_level_values(1)) == [f"{k} parts at once" for k in ("8", "9", "24", "all")]


def test_nothing_run_is_no_row():
    assert no_good_parts(table(method="nearest")).empty and no_good_parts(table(), dataset="road").empty


@pytest.mark.parametrize(("shots", "said"), [("full", "all parts at once"), (8, "8 parts at once")])
def test_what_shots_mean(shots, said):
    assert parts_of(shots) == said
