"""The page: whole in itself, safe with any name, and what it says is right."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from inspection_fakes import HOSTILE, NAMES, THRESHOLDS, part, parts
from samples import on_a_table

from mmadlib.inspection import html
from mmadlib.inspection.cloud import MOST, cloud
from mmadlib.inspection.colours import palette, scale_of
from mmadlib.inspection.verdicts import Region, Thresholds
from mmadlib.inspection.views import DRAWN, view

ADDRESSES = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "xlink:href", "style"}


class Page(HTMLParser):
    """Tags with their attributes, the text of each element that is not nested, and what scripts and styles hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.raw, self.texts, self._open = [], {"script": [], "style": []}, [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data):
        if self._open in self.raw:
            self.raw[self._open][-1] += data
        elif data.strip():
            self.texts.append(data.strip())

    def handle_endtag(self, tag):
        self._open = ""

    def all(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


def made(samples, verdicts, thresholds=THRESHOLDS, clouds=0, **options):
    scale = scale_of(verdicts, thresholds)
    ranks = html.order(verdicts)
    entries = [html.entry(view(samples[i], verdicts[i], scale), verdicts[i],
                          cloud(samples[i], verdicts[i], scale) if k < clouds else None) for k, i in enumerate(ranks)]
    return html.page(entries, verdicts, thresholds, scale, **options)


@pytest.fixture(scope="module")
def text():
    return made(*parts(), title="Plates <b>", about={"method": "<i>cpir"}, clouds=1)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def data(page):
    return json.loads(page.raw["script"][0])


def test_nothing_comes_from_anywhere_else(page, text):
    for _, attributes in page.tags:
        assert all(attributes[key].startswith("data:image/jpeg;base64,") for key in ADDRESSES & attributes.keys())
        assert not [key for key in attributes if key.startswith("on")]
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base", "form"}
    assert set(re.findall(r"\w+://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "url(" not in text and "@import" not in text


def test_only_what_was_written_here_may_run(page):
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    script, style = (f"'sha256-{base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode()}'"
                     for raw in (page.raw["script"][1], page.raw["style"][0]))
    assert rules == {"default-src": "'none'", "img-src": "data:", "style-src": style, "script-src": script,
                     "base-uri": "'none'", "form-action": "'none'"}


def test_a_name_is_text_wherever_it_stands(page, text, data):
    assert HOSTILE not in text and HOSTILE in page.texts and HOSTILE in [p["name"] for p in data["parts"]]
    assert len(page.raw["script"]) == 2 and len(page.all("img")) == len(NAMES) + 1  # a thumbnail each, and the large view
    assert "Plates <b>" in page.texts and "<i>cpir" in page.texts


def test_parts_stand_by_score_those_without_one_last(page, data):
    assert [p["score"] for p in data["parts"]] == [2.5, 1.3, 0.4, None]
    assert [a["data-verdict"] for a in page.all("li", **{"class": "card"})] == ["bad", "bad", "good", "not comparable"]
    assert [p["p"] for p in data["parts"]] == [1 / 21, 1 / 21, 0.5, None] and data["threshold"] == 1.0


def test_the_counts_are_right_without_javascript(text):
    found = re.findall(r'data-filter="([\w ]*)" aria-pressed="\w+"><b[^>]*>(\d+)</b>', text)
    assert dict(found) == {"": "4", "bad": "2", "not comparable": "1", "good": "1"}


def test_the_promise_and_how_it_came_about_are_said(page, data):
    assert THRESHOLDS.how in page.texts and "asked 0.05, promised 0.05" in page.texts
    assert (data["promised"], data["good_parts"], data["ranking"]) == (0.05, 20, False)


def test_a_region_is_listed_and_outlined_on_the_window(data):
    region = data["parts"][0]["regions"][0]
    assert (region["area"], region["peak"], region["at"], region["speaks"]) == ("9.6 mm²", "2.5", [31, 22], "shape")
    assert data["parts"][0]["pictures"][0].startswith("data:image/jpeg;base64,") and len(data["parts"][0]["pictures"]) == 3
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", region["path"]), float)
    assert np.ptp(points, 0) == pytest.approx((5, 3))  # its 3 x 5 pixels
    height, width = view(*part(score=2.5), scale_of(parts()[1], THRESHOLDS)).picture.shape[:2]
    assert (points >= 0).all() and (points <= (width, height)).all() and data["parts"][0]["size"] == [width, height]


def test_of_many_regions_the_highest_are_drawn_and_the_others_counted():
    sample, verdict = part(score=2.5)
    many = replace(verdict, regions=tuple(Region((20, c, 21, c + 1), 2.0, (20, c), 1) for c in range(DRAWN + 3)))
    made = html.entry(view(sample, many, scale_of([many], THRESHOLDS)), many)
    assert len(made["regions"]) == DRAWN and made["more"] == 3 and made["regions"][0]["area"] == "1 px"


def test_a_ranking_promises_nothing_and_calls_nothing_bad():
    samples, verdicts = parts()
    verdicts = [replace(v, p_value=None) for v in verdicts]
    none = Thresholds(float("nan"), float("nan"), 0.05, None, 0, 0, "a ranking of the parts among themselves")
    page = Page(made(samples, verdicts, none, ranking=True))
    data = json.loads(page.raw["script"][0])
    assert data["threshold"] == pytest.approx((0.4 + 1.3) / 2) and data["ranking"] and data["promised"] is None
    assert "▲ above the cut" in page.texts and not [t for t in page.texts if "bad" in t.split()]
    assert "Sorted by score, a ranking without a promise." in page.texts and data["scale"][2] is None


@pytest.mark.parametrize(("kept", "at"), [((0, 1, 2), 0.85), ((1,), 2.5), ((0,), 0.4), ((3,), None)])
def test_the_cut_of_a_ranking_lies_in_its_gap(kept, at):
    none = replace(THRESHOLDS, image=float("nan"))
    found = html.cut([parts()[1][i] for i in kept], none)
    assert np.isnan(found) if at is None else found == pytest.approx(at)


def test_the_worst_part_has_its_cloud(data):
    points = data["parts"][0]["cloud"]
    assert [p["cloud"] is None for p in data["parts"]] == [False, True, True, True]
    xyz = np.frombuffer(base64.b64decode(points["xyz"]), "<u2").reshape(-1, 3)
    colours = np.frombuffer(base64.b64decode(points["colours"]), np.uint8).reshape(-1, 5)
    sample, verdict = part(score=2.5, seed=1)
    stored = sample.xyz[verdict.foreground].astype(float)
    assert len(xyz) == len(colours) == points["n"] == len(stored)
    span = np.ptp(stored, 0).max()
    np.testing.assert_allclose(xyz / 65535 * span, stored - stored.min(0), atol=span / 65535)  # in order, half a step apart
    np.testing.assert_array_equal(colours[:, :3], sample.rgb[verdict.foreground])
    assert colours[:, 4].argmax() == np.flatnonzero(verdict.map[verdict.foreground] == np.float32(2.5))[0]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(data["palette"]), np.uint8).reshape(256, 3), palette())


def test_the_cloud_is_of_the_part_and_of_the_whole_scan_where_no_part_was_found():
    table, (_, verdict) = on_a_table(64), part(score=2.5)
    of = lambda **changes: cloud(table, replace(verdict, **changes), scale_of([verdict], THRESHOLDS))["n"]  # noqa: E731
    assert of() == verdict.foreground.sum()
    assert of(foreground=np.zeros((64, 64), bool), regions=()) == 64 * 64


def test_a_large_cloud_is_thinned_evenly():
    sample, verdict = part(score=2.5, size=400)
    points = cloud(sample, verdict, scale_of([verdict], THRESHOLDS))
    assert 0.9 * MOST < points["n"] <= MOST


def test_a_part_takes_little_room(text):
    assert len(text.encode()) / len(NAMES) < 60_000
