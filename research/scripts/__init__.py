"""Entry points of the installed package (python -m research.scripts.run), which studies also start as scripts.

The folder contains only scripts, because Python puts a script's folder first on its import path.
"""
