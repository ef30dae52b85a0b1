"""Statistics over draws: categories first, whole draws only, no spread out of one value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from measured import CATEGORIES, table

from mmadlib.errors import SettingsError
from mmadlib.report import draws
from mmadlib.report.tables import NOT_RUN, select


def test_interval_of_a_mean():
    assert draws.interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4841377, 2 + 2.4841377))
    assert np.isnan(draws.interval([1.0])).all()
    assert draws.interval([1.0, 1.0]) == (1.0, 1.0)


def test_one_row_a_draw_says_how_many_categories_it_has():
    whole = table(("4",))
    part = whole[(whole["category"] == "keyed") | (whole["data_seed"] != 2)]
    found = select(draws.per_draw(part, CATEGORIES), method="cfm", subset="all", metric="i_auroc").set_index("data_seed")
    assert found["found"].to_dict() == {1: 2, 2: 1, 3: 2} and set(found["needed"]) == {2}
    assert found.loc[3, "value"] == pytest.approx(0.7 + 0.05 + 0.06 + 0.004)
    cells = select(draws.over_draws(draws.per_draw(part, CATEGORIES)), method="cfm", subset="all", metric="i_auroc").iloc[0]
    assert (cells["n"], cells["found"]) == (2, 2) and cells["high"] - cells["mean"] == pytest.approx(12.7062 * 0.02, rel=1e-4)


def test_features_and_datasets_are_not_averaged_together():
    for other in ({"features": "paper"}, {"dataset": "mvtec3d"}):
        with pytest.raises(SettingsError, match="a table mixes " + next(iter(other))):
            draws.per_draw(pd.concat([table(), table(**other)]), CATEGORIES)


def test_nothing_gives_an_empty_table():
    assert draws.over_draws(draws.per_draw(table().iloc[:0], CATEGORIES)).empty
    assert draws.per_draw(table(), ()).empty


def test_notes_say_what_is_missing():
    cases = {(np.nan, np.nan, 0): NOT_RUN, (2, 5, 0): "2 of 5 categories", (5, 5, 2): "2 of 3 draws", (5, 5, 3): ""}
    assert {case: draws.note(*case, 3) for case in cases} == cases
