"""parts(root): a folder of parts of which nothing is known yet, as cameras and people leave it.

    <root>/rgb/000.*     pictures
    <root>/xyz/000.*     clouds; or depth/000.*, depth pictures, with intrinsics
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmadlib import paths
from mmadlib.data.files import Samples
from mmadlib.data.kinds import holds_parts, triples
from mmadlib.data.listing import folders
from mmadlib.data.own import extra_of, placed, read
from mmadlib.data.reading import reading_of
from mmadlib.data.unlabelled import Unlabelled
from mmadlib.errors import DataError, explain


def parts(root: str | Path, **reading: Any) -> Samples:
    """The parts of a folder, in the order of their numbers, read lazily: label -1, defect "unlabelled", dataset "folder".

    root     holds rgb/ and xyz/ (or depth/), whatever their case; its name is the category
    reading  fields of mmadlib.data.reading.Reading: units, invalid, axes, intrinsics, depth_scale, orientation, resample ...

    entry.rgb.stem is the name of a part. Raises DataError (folders, files), UnknownName or SettingsError (reading).
    """
    reading_of(reading)
    root = paths.here(root)
    how = placed(reading, root)
    if not holds_parts(root):
        inner = [name for name in folders(root) if holds_parts(root / name)]
        fault = f"has no folders rgb and xyz (or depth); there are: {', '.join(folders(root)) or 'none'}"
        put = "put the pictures into rgb/, the clouds into xyz/"
        raise DataError(explain(root, fault, f"give one of its folders, such as {root / inner[0]}" if inner else put))
    found = [Unlabelled(rgb, xyz, None, root.name, "parts", dataset="folder", extra=extra_of(how) | {"index": i})
             for i, (rgb, xyz, _) in enumerate(triples(root, how))]
    return Samples(found, read)
