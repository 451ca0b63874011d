"""Evaluate a trained model on other labelled data: python experiments/evaluate.py runs/a --data new.csv."""

import sys

from research.inference.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
