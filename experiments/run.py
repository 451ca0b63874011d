"""Fine-tune a pretrained encoder with a head of your choice: accelerate launch experiments/run.py --head lstm."""

import sys

from research.runner.main import main

if __name__ == "__main__":
    sys.exit(main())
