"""Average the weights of trained models: python experiments/soup.py runs/a runs/b --output runs/soup."""

import sys

from research.soups.main import main

if __name__ == "__main__":
    sys.exit(main())
