"""One part of one's own: its stored files to a Sample, as a Reading says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmadlib import paths
from mmadlib.data import layout
from mmadlib.data.clouds import read_cloud
from mmadlib.data.files import Entry
from mmadlib.data.masks import read_own_mask
from mmadlib.data.pictures import read_picture
from mmadlib.data.reading import Reading
from mmadlib.data.unlabelled import Unlabelled
from mmadlib.sample import Sample


def extra_of(reading: Reading) -> dict:
    """What an entry keeps of how it is to be read; the intrinsics are a file of its own, known by its content."""
    intrinsics = None if reading.intrinsics is None else Path(reading.intrinsics)
    return {"reading": reading} | ({"intrinsics": intrinsics} if intrinsics else {})


def placed(options: dict, *roots: Path) -> Reading:
    """A Reading from keywords, its intrinsics found in one of the roots or from where one stands.

    Raises SettingsError for an option that means nothing.
    """
    reading = Reading(**options)
    if reading.intrinsics is None or Path(reading.intrinsics).is_absolute():
        return reading
    places: Iterable[Path] = (root / reading.intrinsics for root in roots)
    found = next((place for place in places if place.is_file()), paths.here(reading.intrinsics))
    return Reading(**options | {"intrinsics": found})


def read(entry: Entry) -> Sample:
    """The sample; what is read how is told by extra["reading"]. Raises DataError that names file, fault and remedy.

    The cloud decides the grid; points whose coordinates are all 0 or not finite are invalid, those on an axis are valid.
    """
    reading: Reading = entry.extra["reading"]
    xyz, valid = read_cloud(entry.xyz, reading)
    isolated = reading.isolated
    if isolated is None:
        gone = (entry.xyz.parent.parent / layout.MANIFESTS).is_dir()
        isolated = gone or layout.rim_points(valid) < layout.RIM_POINTS
    rgb = read_picture(entry.rgb, valid.shape, reading)
    unknown = isinstance(entry, Unlabelled)
    mask = read_own_mask(entry.gt, valid, reading) if entry.gt and not unknown else None
    return layout.sample(entry, rgb, xyz, mask, isolated, mask_rule=reading.mask_rule)
