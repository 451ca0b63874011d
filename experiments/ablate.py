"""Compare heads, seeds or any other settings: python experiments/ablate.py --heads linear,lstm --seeds 0,1,2."""

import sys

from research.studies.main import main

if __name__ == "__main__":
    sys.exit(main())
