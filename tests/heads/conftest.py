"""Shapes in the heads' annotations are checked at run time in all of these tests."""

from jaxtyping import install_import_hook

hook = install_import_hook("heads", "beartype.beartype")
