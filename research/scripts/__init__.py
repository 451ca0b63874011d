"""Command lines: run and ablate, also of an installed package (python -m research.scripts.run).

A folder of scripts alone, since Python puts the folder of a script first among the places that it imports from.
"""
