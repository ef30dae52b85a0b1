"""Inspector: from good parts to verdicts on new ones, without any mask.

    inspector = Inspector().fit("scans/good")                      # 1. look at the good parts, learn, hold some out
    verdicts = inspector.predict("scans/new", out="report")        # 2. good | bad | not comparable, where, and why
    inspector.save("bracket.mmad"); Inspector.load("bracket.mmad")

The default method is CPIR on learned features. In the committed few-shot tables (results/results.csv: rendered parts, learned
features, all defects, mean of five categories, data seeds 1 to 3 and all seeds) it is first in outlining, and first at 4 good
parts where finding and outlining count alike; at 10 it is .003 behind CMSA in that, which is a reconstruction of an abstract:

    image AUROC / AUPRO@30 on the foreground     4 parts        10 parts
    cpir                                         .980 / .973    .982 / .973
    cmsa                                         .983 / .968    .989 / .971
    btf                                          .983 / .934    .990 / .944

Steps, a file each: scans (what is given), foreground (where the part is), comparable (is it of this kind), learning and
folding (model and held-out scores), calibration (thresholds and what they promise), judging (the verdict), ranking (no good
part at all), saving.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmadlib.checks import check_device, check_seed, one_of
from mmadlib.errors import DataError, SettingsError, TrainingError, WeightsError, explain
from mmadlib.features import Extractor, family
from mmadlib.inspection import saving
from mmadlib.inspection.calibration import check_rate
from mmadlib.inspection.folding import workers
from mmadlib.inspection.foreground import check_isolate, decide
from mmadlib.inspection.judging import Known, verdict
from mmadlib.inspection.learning import learned, seen
from mmadlib.inspection.looking import Looked
from mmadlib.inspection.ranking import ALIASES, ranked
from mmadlib.inspection.replacing import replaceable
from mmadlib.inspection.scans import Given, InTurn, Readable, good_only, scans
from mmadlib.inspection.verdicts import NOT_COMPARABLE, Thresholds, Verdict
from mmadlib.methods import BATCH_METHODS, EVERY, Method, Scores
from mmadlib.paths import here
from mmadlib.progress import bar
from mmadlib.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = ("method", "features", "false_alarms", "seed", "settings", "options", "isolate", "fixture", "folds")  # with a model


class Inspector:
    """Learns from good parts, judges new ones.

    method        a name of METHODS; or "musc_v2", which ranks a batch without good parts and without `fit`
    features      a family of features, or "rgb+xyz" names;   options  of the Extractor, such as size=448
    false_alarms  share of good parts that may be called bad, see mmadlib.inspection.calibration
    seed          of model and folds: the same parts, the same verdicts;   settings  of the method
    isolate       remove the table under the parts: "auto" looks at the rim of the good scans | True | False
    fixture       the foreground is fixed from the good parts: for parts that always lie at the same place
    folds         groups of good parts that are left out in turns; None: mmadlib.inspection.folding decides
    jobs          processes that train; None: all cores in a notebook, 1 in a script

    Raises UnknownName or SettingsError for what does not exist, WeightsError where the features' weights are missing.
    """

    def __init__(self, method: str = "cpir", features: str = "learned", false_alarms: float = 0.05, seed: int = 0, *,
                 settings: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None,
                 isolate: bool | str = "auto", fixture: bool = False, folds: int | None = None, device: str = "cpu",
                 jobs: int | None = None) -> None:
        self.method = ALIASES.get(method, method)
        one_of("method", self.method, [*EVERY, *ALIASES])
        self.false_alarms, self.seed = check_rate(false_alarms), check_seed(seed)
        self.isolate, self.fixture, self.folds, self.jobs = check_isolate(isolate), bool(fixture), folds, jobs
        self.features, self.settings, self.options = features, dict(settings or {}), dict(options or {})
        self.device = str(check_device(device))
        EVERY[self.method](seed=self.seed, **self.settings)  # bad settings fail before any work
        if "isolate" in self.options or "device" in self.options:
            raise SettingsError("options: isolate and device are keywords of the Inspector; give them there")
        self.reading: dict[str, Any] = {}
        self.model: Method | None = None
        self.known: Known | None = None
        self.looked: Looked | None = None
        self._extractor: Extractor | None = None

    @property
    def ranks(self) -> bool:
        """Whether it ranks a batch of parts instead of learning from good ones."""
        return self.method in BATCH_METHODS

    @property
    def thresholds(self) -> Thresholds:
        """Above what a part is bad, and what that promises. Raises TrainingError before fit, or predict of a ranking."""
        return self._known().thresholds

    @property
    def extractor(self) -> Extractor:
        """What makes the features, loaded once."""
        if self._extractor is None:
            self._extractor = (self.model.extractor() if self.model else
                               Extractor(*family(self.features), device=self.device, isolate=False, **self.options))
        return self._extractor

    def fit(self, good: Given, calibration: Given | None = None, progress: bool = True, **reading: Any) -> Self:
        """Learn from good parts; returns self. Looks at them first: `look()` shows how, and warns of what is odd.

        good         a folder (rgb/ and xyz/), what load() gives, or samples; two at least
        calibration  further good parts, from which alone the threshold comes: the promise is then a theorem
        reading      how files of a folder are read (units, intrinsics, ...: mmadlib.data.parts), kept for predict
        Raises DataError for parts that cannot be read or used, and for calibration parts that are among the good ones;
        TrainingError for too few, and what the method raises.
        """
        if self.ranks:
            raise SettingsError(f"method {self.method!r} ranks a batch of parts: call predict(parts) without fit")
        found = good_only(scans(good, reading, "good parts"))
        further = None if calibration is None else good_only(scans(calibration, reading, "calibration parts"))
        self.model = self._extractor = self.known = None
        rule = decide(InTurn(found.samples, "look at the good parts", progress), self.isolate, self.fixture)
        looks = seen(found, rule, self.extractor, progress)
        others = None if further is None else seen(further, rule, self.extractor, progress)
        self.model, self.known = learned(
            self.method, looks, others, [] if further is None else further.names, rule, self.extractor.options.pad,
            asked=self.false_alarms, folds=self.folds, seed=self.seed, device=self.device, settings=self.settings,
            jobs=self.jobs or workers(), progress=progress)
        self.reading = {name: here(value) if name == "intrinsics" and value else value for name, value in reading.items()}
        self.looked = Looked(found.samples, looks.outlines, found.names, ["; ".join(said) for said in looks.warnings])
        for name, said in zip(found.names, looks.warnings, strict=True):
            for text in said:
                warnings.warn(f"good part {name}: {text}", stacklevel=2)
        return self

    def predict(self, parts: Given, out: str | Path | None = None, html3d: int = 0, title: str | None = None,
                progress: bool = True, **reading: Any) -> list[Verdict]:
        """Verdicts on parts, in their order; a file that cannot be read, or a part of another kind, says why and stops no
        other. A folder in which pictures and clouds do not pair is refused whole.

        out  a folder for scores.csv, pictures, maps and report.html;   html3d  coloured clouds of the worst so many in it
        Raises TrainingError before fit, DataError where no part can be read, OutputError where `out` cannot be written.
        """
        if out is not None:
            replaceable(out)  # asked before the work, not after it
        found = scans(parts, self.reading | reading)
        if self.ranks:
            verdicts, self.known = ranked(self.method, found, self.extractor, self.isolate, self.fixture, seed=self.seed,
                                          device=self.device, settings=self.settings, progress=progress)
        else:
            known = self._known()
            verdicts = [verdict(found.names[i], found.paths[i], partial(found.samples.__getitem__, i), self._score, known)
                        for i in bar(range(len(found)), "verdicts", progress)]
        unread = {i for i, v in enumerate(verdicts) if v.map.shape == (1, 1)}
        if len(unread) == len(verdicts):
            raise DataError(explain(verdicts[0].path or verdicts[0].part, verdicts[0].reason,
                                    f"none of the {len(verdicts)} parts can be read"))
        notes = ["; ".join(filter(None, (v.reason if v.verdict == NOT_COMPARABLE else "", *v.warnings))) for v in verdicts]
        shown = Readable(found.samples, unread)
        self.looked = Looked(shown, [v.foreground for v in verdicts], found.names, notes)
        if out is not None:
            from mmadlib.inspection.writing import write_report  # it draws, so it is imported when asked for

            write_report(out, shown, verdicts, self.thresholds, title=title or "", html3d=html3d,
                         ranking=self.ranks, about=self.about(), progress=progress)
        return verdicts

    def look(self, count: int | None = None) -> Figure:
        """What the last fit or predict looked at: picture, shaded relief and kept foreground of every part, or of the first
        so many. Raises TrainingError before both."""
        if self.looked is None:
            raise TrainingError("nothing was looked at yet: call fit or predict")
        return self.looked.show(count)

    def about(self) -> dict[str, str]:
        """What a report says of the model."""
        return {"method": self.method, "features": self.features, "seed": str(self.seed)}

    def save(self, path: str | Path) -> Path:
        """Write one .mmad file; the same model, the same bytes. Raises TrainingError before fit, OutputError."""
        known = self._known()
        if self.model is None:
            raise SettingsError("a ranking is of one batch, so there is no model to save")
        return saving.write(path, {name: getattr(self, name) for name in KEPT}, self.reading, known, self.model)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Self:
        """Read what `save` wrote. Raises WeightsError, with the reason, for a file that is damaged, altered or another."""
        device = str(check_device(device))
        keywords, reading, known, model = saving.read(path, device)
        try:
            made = cls(**keywords, device=device)
        except (TypeError, SettingsError) as err:
            raise WeightsError(explain(path, f"holds no whole inspector ({err})", saving.AGAIN)) from None
        made.reading, made.known, made.model = reading, known, model
        return made

    def _score(self, sample: Sample) -> Scores:
        assert self.model is not None
        return self.model.score(self.extractor(sample))

    def _known(self) -> Known:
        if self.known is None:
            raise TrainingError("this inspector knows no good parts: fit(good) or Inspector.load(path) comes first")
        return self.known
