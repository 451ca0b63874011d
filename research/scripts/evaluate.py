"""experiments/evaluate.py as a module of the package."""

import sys

from research.inference.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
