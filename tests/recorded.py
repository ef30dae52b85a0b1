"""Where the recorded outputs of the official code lie: small copies, see the test that reads each."""

from pathlib import Path

RECORDED = Path(__file__).parent / "data" / "golden"
