"""No test speaks TLS: the certificate authorities that every SDK client would load (40 ms) are not there.

The directory is a real one without certificates, so a client that did speak TLS would trust nobody.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent / "data")

if "PYTEST_XDIST_WORKER" in os.environ:  # workers ignore Ctrl-C, and so would every process of a test
    signal.signal(signal.SIGINT, signal.default_int_handler)
