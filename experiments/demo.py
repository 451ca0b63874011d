"""Open a page that classifies texts with a trained model: python experiments/demo.py runs/a."""

import sys

from research.demo.main import main

if __name__ == "__main__":
    sys.exit(main())
