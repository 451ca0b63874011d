"""experiments/cache.py as a module of the package."""

import sys

from research.data.prepare.cache_command import main

if __name__ == "__main__":
    sys.exit(main())
