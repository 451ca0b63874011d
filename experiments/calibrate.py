"""Calibrate the model of a finished run: python experiments/calibrate.py runs/a --temperature true."""

import sys

from research.runner.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
