"""The same as experiments/run.py, in the package."""

import sys

from research.runner.main import main

if __name__ == "__main__":
    sys.exit(main())
