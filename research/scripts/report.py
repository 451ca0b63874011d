"""experiments/report.py as a module of the package."""

import sys

from research.runner.report_command import main

if __name__ == "__main__":
    sys.exit(main())
