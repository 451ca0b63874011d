"""Start the trials of a study's worker, as forks of this process."""

import sys

from research.runner.main import main
from research.system.fork_server import serve
from research.system.loading import loading_libraries

if __name__ == "__main__":
    with loading_libraries():
        import research.learning.metrics  # runs import it only when they evaluate
        import research.runner.experiment  # noqa: F401
    arguments = serve(sys.argv[1])
    if arguments is not None:
        sys.argv = arguments
        sys.exit(main())
