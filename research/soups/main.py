"""Command line of soup.py, which averages the weights of trained models."""

from __future__ import annotations

from research.inference.evaluation_folder import check_output
from research.settings.model_scripts import run_model_script
from research.soups.folder import SOUP_RECORD
from research.soups.ingredients import check_fit, find_ingredient
from research.soups.settings import SOUP, SoupSettings
from research.system.loading import loading_libraries
from research.system.paths import expand_path
from research.system.waiting import WaitingMessage


def execute(settings: SoupSettings) -> int:
    """Make the soup, and return the exit status."""
    names = [*settings.run, *_trials_of_arm(settings)]
    if len(names) < 2:
        raise ValueError(f"Expected at least two models to average; got {len(names)}. Usage: {SOUP.usage}")
    ingredients = [find_ingredient(name) for name in names]
    for index, ingredient in enumerate(ingredients):
        if ingredient.folder.resolve() in (other.folder.resolve() for other in ingredients[:index]):
            raise ValueError(f"Expected different models; {ingredient.name} is given twice.")
    check_fit(ingredients)
    output = expand_path(settings.output)
    check_output(output, overwrite=settings.overwrite, marker=SOUP_RECORD, kind="soup")
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.soups.make import make_and_write

    make_and_write(settings, ingredients, output)
    return 0


def _trials_of_arm(settings: SoupSettings) -> list[str]:
    """Return the run directories of the finished trials of --arm.

    Raises:
        ValueError: if only one of --study and --arm is set, or there are no such trials.
    """
    if (settings.study is None) != (settings.arm is None):
        raise ValueError("Expected --study and --arm together: the models of one arm are averaged.")
    if settings.study is None or settings.arm is None:
        return []
    from research.studies.report.results import read_finished_ids
    from research.studies.worker import TRIALS

    directory = expand_path(settings.study)
    return [str(directory / TRIALS / trial_id) for trial_id in read_finished_ids(directory, settings.arm)]


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_model_script(SOUP, SoupSettings, execute)
