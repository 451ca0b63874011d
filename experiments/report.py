"""Draw report.html of finished runs: python experiments/report.py runs/a runs/b."""

import sys

from research.runner.report_command import main

if __name__ == "__main__":
    sys.exit(main())
