"""Compare heads or other settings over seeds: python experiments/ablate.py --heads linear,lstm --seeds 0,1,2."""

import sys

from research.studies.main import main

if __name__ == "__main__":
    sys.exit(main())
