"""``python -m techrevati.runtime`` is the ``techrevati`` command."""

import sys

from techrevati.runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
