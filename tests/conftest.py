"""No test speaks TLS: no client loads the certificate authorities, which would take it 40 ms each time.

The directory is a real one without certificates, so a client that did speak TLS would trust nobody.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent / "data")
