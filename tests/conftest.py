"""No test speaks TLS: the certificate authorities that every SDK client would load (40 ms) are not there.

The directory is a real one without certificates, so a client that did speak TLS would trust nobody.

No property depends on how fast the machine is, neither its examples nor the making of them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent / "data")

if "PYTEST_XDIST_WORKER" in os.environ:  # workers ignore Ctrl-C, and so would every process of a test
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("at any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("at any speed")
