"""experiments/soup.py as a module of the package."""

import sys

from research.soups.main import main

if __name__ == "__main__":
    sys.exit(main())
