"""experiments/calibrate.py as a module of the package."""

import sys

from research.runner.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
