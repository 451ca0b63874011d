"""Export a trained model: python experiments/export.py runs/my-run --format hub --output my-model."""

import sys

from research.export.main import main

if __name__ == "__main__":
    sys.exit(main())
