"""experiments/ablate.py as a module of the package."""

import sys

from research.studies.main import main

if __name__ == "__main__":
    sys.exit(main())
