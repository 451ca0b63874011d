"""The wrappers of a model in training: mixed precision, compilation, and the distribution over processes.

Each way to distribute a model is a subclass of `base.Wrapping`. Only `create.py` knows all of them.
"""
