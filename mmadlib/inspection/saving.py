"""An inspector as one .mmad file: a zip with three members, stored as they are; no pickle anywhere.

    inspector.json       all but the method: how parts are read and looked at, ranges, held-out scores; and of the two others
                         size and SHA-256; last its own checksum
    settings.json, model.safetensors     as the method's own `save` writes them

The same model gives the same bytes: no dates, members in this order. What is read is checked before it is used: names, sizes
as declared and within the file, nothing compressed, checksums; then the method's own `load` looks at its two files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mmadlib.atomic import atomic
from mmadlib.errors import OutputError, SettingsError, WeightsError, explain
from mmadlib.inspection.calibration import Calibration
from mmadlib.inspection.foreground import Rule
from mmadlib.inspection.judging import Known
from mmadlib.inspection.verdicts import Thresholds
from mmadlib.methods import METHODS, Method
from mmadlib.methods.saving import FAULTS, SETTINGS, TENSORS
from mmadlib.paths import here, shown

ABOUT, MEMBERS = "inspector.json", ("inspector.json", SETTINGS, TENSORS)
FORMAT = 1
LIMIT = 2**24  # bytes of inspector.json; a foreground of 4000 x 4000 pixels takes 2.7 million
AGAIN = "save it again"


def write(path: str | Path, keywords: dict[str, Any], reading: dict[str, Any], known: Known, model: Method) -> Path:
    """Write the file; keywords of the Inspector, options of reading. Raises SettingsError for one that JSON cannot hold,
    TrainingError for a model with numbers that are none, OutputError."""
    path = here(path)
    with TemporaryDirectory() as folder:
        model.save(folder)
        members = {name: (Path(folder) / name).read_bytes() for name in (SETTINGS, TENSORS)}
    about = described(keywords, reading, known) | {"members": {name: [len(data), hashlib.sha256(data).hexdigest()]
                                                       for name, data in members.items()}}
    text = json.dumps(about | {"checksum": _checksum(about)}, indent=1) + "\n"
    try:
        with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {ABOUT: text.encode(), **members}.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # dated 1980, whenever it is
    except OSError as err:
        raise OutputError(explain(shown(path), f"cannot be written ({err.strerror or err})",
                                  "free some space or give another path")) from None
    return path


def described(keywords: dict[str, Any], reading: dict[str, Any], known: Known) -> dict[str, Any]:
    """What inspector.json says, as plain JSON."""
    reading = {name: str(here(value)) if isinstance(value, Path) else value for name, value in reading.items()}
    try:
        json.dumps([keywords, reading])
    except (TypeError, ValueError):
        raise SettingsError(f"options {keywords | reading} cannot be kept with the model; give numbers and texts") from None
    fixed, held = known.rule.fixed, known.calibration
    assert held is not None
    bits = None if fixed is None else [*fixed.shape, base64.b64encode(np.packbits(fixed).tobytes()).decode()]
    return {
        "format": FORMAT, "keywords": keywords, "reading": reading, "method": known.method, "pad": known.pad,
        "missing": known.missing, "gap": known.gap, "levels": known.levels,
        "ranges": {name: list(pair) for name, pair in known.ranges.items()},
        "rule": {"isolate": known.rule.isolate, "bare": known.rule.bare, "fixed": bits},
        "held": {"image": held.image.tolist(), "peak": held.peak.tolist(), "folds": held.folds},
        "thresholds": asdict(known.thresholds)}


def read(path: str | Path, device: str = "cpu") -> tuple[dict[str, Any], dict[str, Any], Known, Method]:
    """Keywords, options of reading, what is known and the model, as `write` was given them. Raises WeightsError with the
    reason where the file is not whole or not one of ours."""
    path = here(path)
    about, members = _checked(path)
    try:
        if about["method"] not in METHODS:
            raise ValueError(f"its method {str(about['method'])[:40]!r} does not exist")
        known, keywords, reading = known_from(about), dict(about["keywords"]), dict(about["reading"])
    except FAULTS as err:
        raise _odd(path, f"holds no whole inspector ({err if type(err) is ValueError else type(err).__name__})") from None
    with TemporaryDirectory() as folder:
        for name, data in members.items():
            (Path(folder) / name).write_bytes(data)
        try:
            model = METHODS[known.method].load(folder, device)
        except WeightsError as err:
            raise _odd(path, "holds a model that cannot be used: " + str(err).replace(str(folder), "").lstrip(": ")) from None
    return keywords, reading, known, model


def known_from(about: dict[str, Any]) -> Known:
    """The inverse of `described`, as far as Known goes. Raises FAULTS for what is none."""
    rule, held, bits = about["rule"], about["held"], about["rule"]["fixed"]
    fixed = None
    if bits is not None:
        height, width = int(bits[0]), int(bits[1])
        packed = np.frombuffer(base64.b64decode(bits[2]), np.uint8)
        if len(packed) != -(-height * width // 8):
            raise ValueError("its foreground has another size than it says")
        fixed = np.unpackbits(packed, count=height * width).view(bool).reshape(height, width)
    calibration = Calibration(np.array(held["image"], np.float64), np.array(held["peak"], np.float64), int(held["folds"]))
    return Known(about["method"], about["pad"], Rule(bool(rule["isolate"]), bool(rule["bare"]), fixed), about["missing"],
                 {name: (float(low), float(high)) for name, (low, high) in about["ranges"].items()}, float(about["gap"]),
                 {name: float(level) for name, level in about["levels"].items()}, calibration,
                 Thresholds(**about["thresholds"]))


def _checked(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """inspector.json and the method's files, all with the sizes and digests that they should have."""
    try:
        on_disk = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if [info.filename for info in infos] != list(MEMBERS):
                raise _odd(path, "is a zip file, but not an inspector's", "give a file that Inspector.save wrote")
            if any(i.compress_type != zipfile.ZIP_STORED or i.file_size != i.compress_size for i in infos):
                raise _odd(path, "is compressed, which an inspector's file is not")
            if sum(i.file_size for i in infos) > on_disk or infos[0].file_size > LIMIT:
                raise _odd(path, "declares more bytes than it has")
            about = json.loads(archive.read(ABOUT))
            if about["format"] != FORMAT:
                raise _odd(path, f"has format {str(about['format'])[:20]}, this mmadlib reads {FORMAT}", "fit again")
            if about.pop("checksum") != _checksum(about):
                raise _odd(path, "was altered")
            if any(info.file_size != about["members"][info.filename][0] for info in infos[1:]):
                raise _odd(path, "holds a member of another size than it says")
            members = {name: archive.read(name) for name in MEMBERS[1:]}
    except FileNotFoundError:
        raise _odd(path, "is not there", "give the file that Inspector.save wrote") from None
    except OSError as err:
        raise _odd(path, f"cannot be read ({err.strerror or err})", "correct its permissions") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, *FAULTS):
        raise _odd(path, "is damaged, cut short or no inspector's file") from None
    for name, data in members.items():
        if hashlib.sha256(data).hexdigest() != about["members"][name][1]:
            raise _odd(path, f"was altered: {name} is not what was saved")
    return about, members


def _checksum(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _odd(path: Path, fault: str, remedy: str = AGAIN) -> WeightsError:
    return WeightsError(explain(shown(path), fault, remedy))
