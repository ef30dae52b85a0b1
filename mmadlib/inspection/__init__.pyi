from .inspector import Inspector as Inspector
from .verdicts import Region as Region
from .verdicts import Thresholds as Thresholds
from .verdicts import Verdict as Verdict
