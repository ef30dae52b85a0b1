"""Exit 1 and name the system libraries that cannot be loaded: python check_libraries.py libusb-1.0.so.0 ..."""

import ctypes
import sys

missing = []
for name in sys.argv[1:] if sys.platform == "linux" else []:
    try:
        ctypes.CDLL(name)
    except OSError:
        missing.append(name)
if missing:
    sys.exit("missing: " + " ".join(missing))
print("all there")
