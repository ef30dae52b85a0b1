import pandas as pd
import pytest

from mmadlib.errors import DataError, MetricUndefined, SettingsError
from mmadlib.experiments.record import COLUMNS
from mmadlib.report import tables


@pytest.fixture
def measured():
    base = ["mvtec3d", 0]
    rows = [[*base, c, "cfm", "published", "paper", "full", s, sub, "i_auroc", v]
            for c, s, sub, v in [("bagel", 0, "all", 0.9), ("bagel", 1, "all", 0.8), ("tire", 0, "all", 0.7),
                                 ("tire", 0, "rgb", 0.6)]]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_modality_table_averages_seeds_then_categories(measured):
    table = tables.by_modality(measured, method="cfm")
    assert table.loc["bagel", "all"] == pytest.approx(0.85)
    assert table.loc["mean", "all"] == pytest.approx((0.85 + 0.7) / 2)
    assert list(table.columns) == ["all", "rgb"]
    assert tables.text(table).splitlines()[2].split() == ["bagel", "0.850", "-"]


def test_nothing_is_filled_in(measured):
    with pytest.raises(MetricUndefined, match="make reproduce"):
        tables.by_modality(measured, method="other")
    with pytest.raises(DataError, match="is missing"):
        tables.results("nowhere.csv")


def test_method_table_has_display_names(measured):
    assert tables.by_method(measured).index[0] == ("CFM", "published", "paper")


def test_variants_stand_by_category_with_a_mean_that_needs_all_of_them(measured):
    more = measured.assign(variant=["bare", "bare", "bare", "bare"], value=1.0).iloc[:1]
    table = tables.by_variant(pd.concat([measured, more]), "cfm", features="paper")
    assert list(table.index) == ["published", "bare"] and list(table.columns) == ["bagel", "tire", "mean"]
    assert table.loc["published"].tolist() == pytest.approx([0.85, 0.7, 0.775])
    assert table.loc["bare", "bagel"] == 1 and table.loc["bare", ["tire", "mean"]].isna().all()
    with pytest.raises(SettingsError, match="mixes shots 4, full"):
        tables.by_variant(pd.concat([measured, more.assign(shots="4")]), "cfm")
    asked = tables.by_variant(measured, "cfm", ["bare", "published"])
    assert list(asked.index) == ["bare", "published"] and asked.loc["bare"].isna().all()


class TestPublishedFile:
    """The checks that keep results/published.csv honest."""

    @pytest.fixture(scope="class")
    def full(self):
        return pd.read_csv(tables.RESULTS / "published.csv", dtype={"shots": str})

    def test_vocabulary(self, full):
        assert len(full) == 1439
        assert set(full["dataset"]) <= {"mvtec3d", "eyecandies", "real_iad_d3", "polyurethane"}
        assert set(full["metric"]) <= {*tables.METRIC_NAMES, "fps", "memory_mb"}
        assert set(full["confidence"]) == {"primary", "official-readme", "secondary", "unverified"}
        fractions = full.loc[full["unit"] == "fraction", "value"]
        assert ((fractions > 0) & (fractions <= 1)).all()
        assert not full.duplicated(["paper", "table", "method", "dataset", "category", "shots", "metric"]).any()

    def test_unverified_rows_are_never_shown(self, full):
        assert (full["confidence"] == "unverified").any()
        assert "unverified" not in set(tables.published()["confidence"])
        assert len(tables.published()) < len(full)

    def test_only_what_needs_no_good_part_has_no_shots(self, full):
        none = full[full["shots"] == "0"]
        assert set(none["method"]) == {"MuSc-V2"} == set(full.loc[full["shots"].isin(["0"]), "paper"])
        assert set(none["metric"]) == {"i_auroc", "p_auroc"}, "its PRO is not AUPRO@30"

    def test_stated_means_are_the_means_of_their_cells(self, full):
        """Two groups are known not to agree: one misprint in the authors' picture and one unverified row."""
        keys = ["paper", "table", "method", "dataset", "shots", "metric"]
        cells = full[full["category"] != "mean"].groupby(keys)["value"].agg(["mean", "size"])
        stated = full[full["category"] == "mean"].set_index(keys)["value"]
        both = cells[cells["size"] == 10].join(stated, how="inner")
        assert len(both) > 80
        assert ((both["mean"] - both["value"]).abs() > 0.0011).sum() == 2


def test_a_column_called_like_the_argument_can_be_selected(measured):
    assert len(tables.select(measured.assign(table="x"), table="x", category="tire", seed="0")) == 2
