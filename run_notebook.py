"""Runs main.ipynb from the command line. The executed notebook stays in the run's folder.

    python run_notebook.py [-p NAME VALUE ...] [--seeds 0 1 2]

-p sets a value of the notebook's parameters cell. With several seeds, the notebook runs once for
each, and a table shows the test results with their spread.
"""

import argparse
import ast
import base64
import io
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
import pandas as pd
import papermill
from PIL import Image

from cli import run_command, two_names
from files import UserError, new_run_dir, write_whole

# UserError and its subclasses. Only the name of an error comes out of the notebook's kernel.
USER_ERRORS = ("UserError", "NotMarked", "PartlyCollected")
JPEG_QUALITY = 85
BAR = re.compile(r"\d+%\|")  # in a line of a tqdm progress bar
NOTEBOOK = Path(__file__).resolve().with_name("main.ipynb")
# The types of parameters that are None by default, and how messages name each type.
UNSET_KINDS = {"weights": str, "standardise": bool, "seq_frames": int, "class_names": tuple}
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "two different names such as \"['non-rally', 'rally']\"",
}


def run_once(parameters: dict, name: str | None = None) -> dict:
    """Executes the notebook into a new runs/<name>/; returns its metrics, with "run_dir" added.

    Raises UserError where a cell raised one; other errors pass through. The folder then keeps the
    notebook up to that cell, unless the run had made nothing else.
    """
    run_dir = new_run_dir(parameters["runs_dir"], name)
    executed = run_dir / "main.ipynb"
    try:
        execute(executed, {**parameters, "run_dir": str(run_dir)})
    except papermill.PapermillExecutionError as error:
        if error.ename not in USER_ERRORS:
            raise
        if {*run_dir.iterdir()} <= {executed}:
            shutil.rmtree(run_dir)
            raise UserError(error.evalue) from error
        raise UserError(
            f"{error.evalue}\n(the notebook up to this error is in {run_dir})"
        ) from error
    return json.loads((run_dir / "metrics.json").read_text()) | {"run_dir": str(run_dir)}


def execute(output: Path, parameters: dict | None = None) -> None:
    """Executes main.ipynb into `output`; what its cells print appears in the terminal at once.

    Paths in `parameters` are relative to the current folder. Modules are always the project's, even
    if the current folder has modules of the same names.
    """
    # Progress bars come through a pipe, where tqdm cannot ask for the terminal's width.
    os.environ.setdefault("TQDM_NCOLS", "100")
    searched = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(NOTEBOOK.parent) not in searched:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(NOTEBOOK.parent), *filter(None, searched)])
    with open(1, "w", closefd=False) as out, open(2, "w", closefd=False) as err:
        papermill.execute_notebook(
            NOTEBOOK,
            output,
            parameters,
            kernel_name="python3",
            progress_bar=False,
            stdout_file=out,
            stderr_file=err,
            coalesce_streams=True,
            extra_arguments=[
                # The kernel's own messages (sockets, Ctrl-C) do not help a user.
                "--IPKernelApp.log_level=CRITICAL",
                "--IPKernelApp.ignore_cwd=True",
            ],
        )


def execute_in_place() -> None:
    """Renews the outputs of main.ipynb itself, with the values of its parameters cell."""
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "main.ipynb"
        execute(executed)
        notebook = nbformat.read(executed, as_version=4)
    strip_outputs(notebook)
    write_whole(NOTEBOOK, (nbformat.writes(notebook) + "\n").encode())


def strip_outputs(notebook: nbformat.NotebookNode) -> None:
    """Removes from an executed notebook what a reader does not need; pictures become JPEGs.

    These are paths and times of this machine, progress bars, and outputs that are then empty.
    """
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)  # paths and times of this machine
        part.metadata.pop("execution", None)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        for output in cell.outputs:
            if "text" in output:
                text = output.text.replace(str(Path.home()), "~")
                lines = [line for line in text.splitlines(keepends=True) if not BAR.search(line)]
                output.text = "".join(lines)
            if png := output.get("data", {}).pop("image/png", None):
                output.data["image/jpeg"] = as_jpeg(png)
        cell.outputs = [out for out in cell.outputs if out.get("text", "-").strip()]


def as_jpeg(png: str) -> str:
    """A base64 PNG as a base64 JPEG, a third of the size."""
    jpeg = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        picture.convert("RGB").save(jpeg, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return base64.b64encode(jpeg.getvalue()).decode()


def result_line(metrics: dict) -> str:
    """The last line that a run prints."""
    test, (low, high) = metrics["test"], metrics["test"]["accuracy_95"]
    data = "the SYNTHETIC sample" if metrics["synthetic"] else "your data"
    return (
        f"Test accuracy {test['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}), "
        f"F1 {test['f1']:.3f}, on {test['n']} sequences of {data}, backbone weights "
        f"{metrics['backbone_weights']}: {metrics['run_dir']}"
    )


def seeds_table(runs: dict[int, dict]) -> str:
    """A row for each seed, with 95 % intervals of accuracy; then mean and standard deviation."""
    models = {
        "RES_LSTM": "test",
        "mean of the frames": "mean_of_frames",
        "a single frame": "single_frame",
        "majority class": "majority_class",
    }
    numbers = pd.DataFrame(
        {
            f"seed {seed}": {
                **{name: metrics[key]["accuracy"] for name, key in models.items()},
                "F1": metrics["test"]["f1"],
                "McNemar p": metrics["mcnemar_p"],
                "best epoch": metrics["best_epoch"],
            }
            for seed, metrics in runs.items()
        }
    ).T
    spread = pd.DataFrame({"mean": numbers.mean(), "sd": numbers.std()}).T
    table = pd.concat([numbers, spread])
    table = table.map("{:.3f}".format)
    for name in ("McNemar p", "best epoch"):
        table[name] = [f"{value:.3g}" for value in (*numbers[name], *spread[name])]
    for name, key in models.items():
        for seed, metrics in runs.items():
            low, high = metrics[key]["accuracy_95"]
            table.loc[f"seed {seed}", name] += f" ({low:.3f} to {high:.3f})"
    note = "Test accuracy with 95 % intervals. McNemar p: RES_LSTM against mean of the frames."
    return f"{table.to_string()}\n{note}"


def read_parameters(given: list[tuple[str, str]], defaults: dict) -> dict:
    """{name: value} of `-p NAME VALUE` options, each value of its default's type.

    Raises ValueError for an unknown name, and for a text that is not a value of that type.
    """
    unknown = sorted(name for name, _ in given if name not in defaults or name == "run_dir")
    if unknown:
        known = ", ".join(name for name in defaults if name != "run_dir")
        raise ValueError(f"unknown parameter {', '.join(unknown)}; known ones: {known}")
    return {name: parse_value(name, text, defaults[name]) for name, text in given}


def parse_value(name: str, text: str, default: object) -> object:
    """The value that a text stands for. "none" is accepted only where the default is None."""
    if default is None and text.lower() == "none":
        return None
    kind = UNSET_KINDS[name] if default is None else type(default)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is tuple:
            return two_names(ast.literal_eval(text))
        return kind(text)
    except (AttributeError, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"{name} must be {KINDS[kind]}, not {text!r}") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Run the experiment, main.ipynb, into a new folder runs/NAME/.",
        epilog="example: python run_notebook.py -p weights random --seeds 0 1 2",
    )
    parser.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        metavar=("NAME", "VALUE"),
        action="append",
        default=[],
        help="set a value of the notebook's parameters cell; may be repeated",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", metavar="SEED", help="one run for each; then a table of all"
    )
    parser.add_argument("--name", help="name of the run's folder (default: date and time)")
    parser.add_argument(
        "--in-place", action="store_true", help="renew the outputs stored in main.ipynb itself"
    )
    options = parser.parse_args(arguments)
    if options.in_place:
        if options.parameters or options.seeds or options.name:
            parser.error("--in-place takes no other options: it runs main.ipynb as it is")
        execute_in_place()
        return 0
    known = papermill.inspect_notebook(NOTEBOOK)
    defaults = {name: ast.literal_eval(about["default"]) for name, about in known.items()}
    try:
        parameters = read_parameters(options.parameters, defaults)
    except ValueError as error:
        parser.error(str(error))
    parameters = {"runs_dir": defaults["runs_dir"], "seed": defaults["seed"], **parameters}
    runs = {}
    for seed in options.seeds or [parameters["seed"]]:
        runs[seed] = run_once({**parameters, "seed": seed}, options.name)
        print(result_line(runs[seed]))
    if len(runs) > 1:
        print(seeds_table(runs))
    return 0


if __name__ == "__main__":
    run_command(main)
