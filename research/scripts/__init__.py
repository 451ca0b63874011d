"""Command lines of an installed package (python -m research.scripts.run) and scripts that studies start.

The folder contains only scripts, because Python puts a script's folder first on its import path.
"""
