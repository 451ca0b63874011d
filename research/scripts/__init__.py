"""The command lines of an installed package: python -m research.scripts.run, and what studies start.

A folder of scripts alone, since Python puts the folder of a script first among the places that it imports from.
"""
