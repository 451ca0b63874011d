"""The same as experiments/ablate.py, in the package."""

import sys

from research.studies.main import main

if __name__ == "__main__":
    sys.exit(main())
