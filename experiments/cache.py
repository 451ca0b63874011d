"""List or clear the cache: python experiments/cache.py list, python experiments/cache.py clear --older_than 30."""

import sys

from research.data.prepare.cache_command import main

if __name__ == "__main__":
    sys.exit(main())
