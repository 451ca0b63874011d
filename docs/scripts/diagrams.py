"""Draw the diagrams of the concept pages: python docs/scripts/diagrams.py."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from pathlib import Path

from drawing import CHARACTER_WIDTH, Drawing

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
SUMMARIES = {
    "scripts": "command lines",
    "soups": "averages of trained models",
    "studies": "many runs, compared",
    "export": "models for other programs",
    "demo": "a page to try a model",
    "runner": "one run: settings to result",
    "inference": "use of trained models",
    "report": "report.html of a run",
    "hooks": "hooks that come with Midway",
    "features": "stored hidden states",
    "training": "loop, boundary, audit, checkpoints",
    "records": "run directory, trackers",
    "edits": "changes to a model during a run",
    "learning": "losses, schedules, metrics",
    "model": "encoder with its head",
    "data": "from files to batches",
    "tasks": "kinds of labels",
    "settings": "settings, recipes, flags",
    "statistics": "intervals over rows",
    "system": "files, locks, signals",
}
"""Text in the box of each package of research/: a few words about its contents."""


def read_layers() -> list[list[str]]:
    """Return the layers of the import contract in setup.cfg, top first; each is a list of packages of research/."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["importlinter:contract:packages"]["layers"].strip().splitlines()
    return [[name.strip() for name in line.split("|")] for line in lines]


def draw_packages() -> str:
    """Return a picture of the packages in their layers, as SVG. Each package imports only from layers below its own."""
    rows = read_layers()  # one row of boxes for each layer
    width, row_height, gap = 760, 44, 12
    top = row_height + 2 * gap + 10
    height = top + len(rows) * (row_height + gap) + row_height + 2 * gap + 14
    drawing = Drawing("Packages of Midway: each imports only from rows below its own", width, height)
    drawing.box(
        60, 8, width - 68, row_height, ["experiments/", "run.py, ablate.py, export.py, verify_resume.py"], "note"
    )
    drawing.frame(52, top - gap, width - 60, len(rows) * (row_height + gap) + gap)
    for number, row in enumerate(rows):
        y = top + number * (row_height + gap)
        box_width = (width - 76 - gap * (len(row) - 1)) / len(row)
        for column, name in enumerate(row):
            kind = "main" if name in ("training", "edits") else "plain"
            x = 60 + column * (box_width + gap)
            drawing.box(round(x), y, round(box_width), row_height, [f"research/{name}", SUMMARIES[name]], kind)
    bottom = top + len(rows) * (row_height + gap) + gap + 2
    drawing.box(60, bottom, width - 68, row_height, ["heads/", "heads, and the registry; imports torch only"], "user")
    drawing.arrow((26, 16), (26, height - 16))
    drawing.parts.append(
        f'<g transform="translate(26 {height / 2}) rotate(-90)"><rect x="-36" y="-12" width="72" height="24" rx="4" '
        'fill="#eceff1"/><text text-anchor="middle" y="4.5" fill="#263238" font-size="13">imports</text></g>'
    )
    return drawing.svg()


def draw_run() -> str:
    """Return a picture of a run, from its settings to its directory, as SVG."""
    drawing = Drawing("A run, from its settings to its directory", 760, 560)
    drawing.box(8, 8, 232, 58, ["Settings", "recipe, flags, plugins"], "user")
    drawing.box(8, 104, 232, 58, ["First checks", "names, times, paths"])
    drawing.box(8, 200, 232, 58, ["Rehearsal of all edits", "without weights"])
    drawing.box(264, 8, 232, 58, ["Data source", "files, packages, the Hub"], "user")
    drawing.box(264, 104, 232, 58, ["Rows", "task, labels, splits; cached"])
    drawing.box(264, 200, 232, 58, ["Batches", "tokens, order, padding"])
    drawing.box(520, 8, 232, 58, ["Pretrained encoder", "package, folder, the Hub"], "user")
    drawing.box(520, 104, 232, 58, ["Encoder with head", "head checked for padding"])
    drawing.box(520, 200, 232, 58, ["Wrapped model", "precision, DDP, compile"])
    for x in (124, 380, 636):
        drawing.arrow((x, 66), (x, 102))
        drawing.arrow((x, 162), (x, 198))
        drawing.arrow((x, 258), (x, 300))
    drawing.box(
        8, 302, 744, 66, ["Training loop", "steps; hooks at every point; edits between two steps, audited"], "main"
    )
    drawing.arrow((124, 368), (124, 412))
    drawing.arrow((380, 368), (380, 412))
    drawing.arrow((636, 368), (636, 412))
    drawing.box(8, 414, 232, 58, ["During training", "metrics, journal, checkpoints"], "file")
    drawing.box(264, 414, 232, 58, ["At the end", "model/, predictions/, result.json"], "file")
    drawing.box(520, 414, 232, 58, ["For inspection", "report.html, tensorboard/"], "file")
    drawing.arrow((124, 472), (124, 508))
    drawing.box(
        8,
        510,
        744,
        42,
        ["Resume and fork start from a checkpoint: settings, weights, optimizer, random states"],
        "note",
    )
    return drawing.svg()


LOOP_STAGES: list[tuple[str, str, str]] = [
    ("run", "on_train_start", "or on_resume, if the run continues from a checkpoint"),
    ("epoch", "on_epoch_start", "followed by a boundary"),
    ("micro", "on_batch", "may change the batch"),
    ("micro", "", "forward and backward"),
    ("micro", "after_backward", "may add to the gradients"),
    ("step", "before_step", "gradients are complete, not clipped yet; may skip the step"),
    ("step", "", "clip, optimizer step, schedule"),
    ("step", "after_step", "evaluations run here: before_evaluate, after_evaluate"),
    ("step", "", "boundary: pending edits are applied and audited"),
    ("step", "after_edits", "only if there were edits"),
    ("step", "end_of_step", "log line, checkpoint"),
    ("epoch", "on_epoch_end", "followed by a boundary"),
    ("run", "on_train_end", "or on_exception, if something fails"),
]
"""What happens in the loop, in order: key of the enclosing frame, name of the hook method (empty if no hook is called),
description."""
DEPTHS = {"run": 0, "epoch": 1, "step": 2, "micro": 3}
"""Nesting depth of each frame."""
FRAMES = {"epoch": "every epoch", "step": "every step", "micro": "every micro-batch"}
"""Caption of each frame that is drawn; "run" has no frame."""


def draw_loop() -> str:
    """Return a picture of the loop and its points, as SVG."""
    height, indent, width = 46, 26, 760
    drawing = Drawing(
        "The training loop and the points at which it calls hooks", width, 8 + height * len(LOOP_STAGES) + 90
    )
    y = 8.0
    open_frames: list[tuple[str, float]] = []  # key and top edge of each, outermost first

    def close_frames(depth: int) -> None:
        """Draw the open frames that are nested deeper than `depth`."""
        nonlocal y
        while open_frames and DEPTHS[open_frames[-1][0]] > depth:
            frame, start = open_frames.pop()
            x = indent * (DEPTHS[frame] - 1) + 8
            drawing.frame(x, start, width - 16 - 2 * indent * (DEPTHS[frame] - 1), y - start + 2)
            caption = FRAMES[frame]
            right_edge = width - 8 - indent * (DEPTHS[frame] - 1)
            drawing.text(right_edge - CHARACTER_WIDTH * len(caption) - 28, start, caption)
            y += 12

    for frame, name, text in LOOP_STAGES:
        depth = DEPTHS[frame]
        close_frames(depth)
        for outer in ("epoch", "step", "micro"):
            if DEPTHS[outer] <= depth and outer not in [key for key, _ in open_frames]:
                open_frames.append((outer, y + 14))
                y += 28
        x = 20 + indent * depth
        if name:
            drawing.box(x, y + 4, 180, 34, [name], "user")
            if text:
                drawing.text(x + 190, y + 21, text)
        else:
            drawing.box(x, y + 4, 470, 34, [text], "main")
        y += height
    close_frames(0)
    drawing.height = round(y) + 8
    return drawing.svg()


DIAGRAMS: dict[str, Callable[[], str]] = {"packages.svg": draw_packages, "run.svg": draw_run, "loop.svg": draw_loop}
"""Functions that return the diagrams, by file name in docs/pictures/."""


def main() -> None:
    """Write all diagrams."""
    PICTURES.mkdir(exist_ok=True)
    for name, draw in DIAGRAMS.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
