"""What main.ipynb and its runner promise: a whole run on tiny data, and errors in one line."""

import ast
import base64
import importlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import papermill
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

import run_notebook
from cli import run_command
from conftest import write_data, write_video
from detection import fitting, match_features, temporal_head
from detection.temporal_head import HeadConfig
from experiments import setting
from extraction import features
from files import UserError
from model import load_model
from run_notebook import read_parameters, seeds_table

REPO = Path(__file__).resolve().parent.parent
NOTEBOOK = json.loads((REPO / "main.ipynb").read_text())
PACKAGES = [path.parent.name for path in REPO.glob("*/__init__.py")]
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
SOURCES = ["".join(cell["source"]) for cell in CODE]
PROSE = "\n".join(
    "".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown"
)


def arguments_of(**parameters):
    return [word for name, value in parameters.items() for word in ("-p", name, str(value))]


def ended(**parameters):
    """The exit code of python run_notebook.py, in this process: a new one takes seconds more."""
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: run_notebook.main(arguments_of(**parameters)))
    return caught.value.code


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run started in a folder with modules of the same names as the project's."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "Data", counts=(6, 4, 4), frames=6)
    for module in ("model.py", "torchinfo.py"):
        (folder / module).write_text("raise ImportError('not this one')")
    arguments = arguments_of(weights="random", seq_frames=6, views=2, max_epochs=2)
    command = [sys.executable, str(REPO / "run_notebook.py"), "--name", "first", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=280)
    assert told.returncode == 0, told.stderr
    return told, folder / "runs" / "first"


def test_a_run_leaves_all_its_files_behind(run):
    _, run_dir = run
    assert {path.name for path in run_dir.iterdir()} >= {
        "config.json",
        "history.csv",
        "best_model.pth",
        "metrics.json",
        "predictions.csv",
        "main.ipynb",
        "balance.png",
        "examples.png",
        "history.png",
        "test.png",
    }
    assert len(pd.read_csv(run_dir / "history.csv")) == 2
    predictions = pd.read_csv(run_dir / "predictions.csv")
    assert list(predictions.columns) == ["sequence", "label", "probability", "split"]
    assert predictions["split"].value_counts().to_dict() == {
        "train": 6,
        "validation": 4,
        "test": 4,
    }
    assert load_model(run_dir / "best_model.pth")[1]["weights_name"] == "random (seed 0)"


def test_a_run_ends_with_one_line_of_result_and_folder(run):
    told, run_dir = run
    metrics = json.loads((run_dir / "metrics.json").read_text())
    last = told.stdout.strip().splitlines()[-1]
    assert last.startswith(f"Test accuracy {metrics['test']['accuracy']:.3f} (95 % interval ")
    assert "on 4 sequences of your data" in last and "random (seed 0)" in last
    assert last.endswith(str(Path("runs", run_dir.name)))


def test_progress_is_seen_in_the_terminal(run):
    told, _ = run
    assert "Epoch 01 | Train Loss: " in told.stdout
    for bar in ("Features train", "Training", "Evaluating"):
        assert bar in told.stderr


def test_the_executed_notebook_has_its_pictures_and_no_error(run):
    _, run_dir = run
    cells = json.loads((run_dir / "main.ipynb").read_text())["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 4
    assert "11,645,633" in json.dumps(outputs) and "469,121" in json.dumps(outputs)


@pytest.fixture
def quick(monkeypatch):
    """A backbone that gives random features, and little training: only the cells are tested."""

    def features_of(_encoder, frames):
        return torch.rand(len(frames), 512)

    for module in (features, match_features):
        monkeypatch.setattr(module, "encode", features_of)
    monkeypatch.setattr(temporal_head, "MIN_BATCHES", 1)
    monkeypatch.setattr(temporal_head, "BATCH_SIZE", 2)
    for module in (fitting, setting):
        monkeypatch.setattr(module, "HeadConfig", partial(HeadConfig, channels=8, dilations=(1, 2)))


def run_cells(names: dict, **changed) -> None:
    """Executes the cells in order, with values of the parameters cell changed."""
    for cell, source in zip(CODE, SOURCES, strict=True):
        exec(source, names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= changed


def write_matches(data, marked: dict[str, str]) -> Path:
    """Adds marked matches, {name: split}, to a data folder."""
    (data / "matches").mkdir()
    lines = ["split,video"]
    for name, split in marked.items():
        write_video(data / f"{name}.mp4", "30", 180)
        (data / "matches" / f"{name}.csv").write_text("start_sec,end_sec\n1,3\n4,5.5\n")
        lines.append(f"{split},{name}.mp4")
    (data / "videos.csv").write_text("\n".join([*lines, ""]))
    return data


def test_with_three_marked_matches_that_of_test_is_measured(tmp_path, quick):
    data = write_data(tmp_path / "Data", counts=(6, 4, 4), frames=6)
    write_matches(data, {"a": "train", "b": "validation", "d": "test"})
    write_video(data / "c.mp4", "30", 120)  # not marked, so it cannot be measured
    with open(data / "videos.csv", "a") as table:
        table.write("test,c.mp4\n")
    names = {"display": lambda *shown: None}
    runs = str(tmp_path / "runs")
    run_cells(names, data_dir=str(data), runs_dir=runs, max_epochs=1, weights="random")
    measured = json.loads((names["trained"] / "metrics.json").read_text())["detection"]
    assert set(measured["matches"]) == {"d"} and measured["pooled"]["true"] == 2
    assert not (names["trained"] / "leave_one_out.json").exists()


def test_with_four_marked_matches_each_is_held_out_and_running_again_keeps_the_first_model(
    tmp_path, quick, capsys
):
    data = write_data(tmp_path / "Data", counts=(6, 4, 4), frames=6)
    write_matches(data, {"a": "train", "b": "validation", "c": "test", "d": "test"})
    names = {"display": lambda *shown: None}
    changed = {"data_dir": str(data), "runs_dir": str(tmp_path / "runs"), "max_epochs": 1}
    run_cells(names, **changed, weights="random")
    first = names["trained"]
    measured = json.loads((first / "metrics.json").read_text())["detection"]
    assert set(measured["matches"]) == set("abcd") and measured["pooled"]["true"] == 8
    shown = {"timeline_c.png", "leave_one_out.json", "leave_one_out.png"}
    assert shown <= {path.name for path in first.iterdir()}
    assert "F1@0.5" in capsys.readouterr().out
    kept = (first / "best_model.pth").read_bytes()
    exec(next(source for source in SOURCES if "history = fit(" in source), names)
    assert names["trained"] != first and (names["trained"] / "best_model.pth").exists()
    assert (first / "best_model.pth").read_bytes() == kept
    second = names["trained"]
    run_cells(names, **changed, weights="random")  # top to bottom once more, in the same kernel
    assert names["trained"] not in (first, second)
    again = json.loads((names["trained"] / "metrics.json").read_text())
    assert again == json.loads((first / "metrics.json").read_text())
    assert (first / "best_model.pth").read_bytes() == kept


def test_several_seeds_give_a_table_with_mean_and_spread():
    def metrics(accuracy):
        score = {"accuracy": accuracy, "accuracy_95": [0.6, 0.95], "f1": 0.5}
        models = ("test", "mean_of_frames", "single_frame", "majority_class")
        return {**dict.fromkeys(models, score), "mcnemar_p": 0.04, "best_epoch": 3}

    lines = seeds_table({1: metrics(0.7), 2: metrics(0.9)}).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["seed", "seed", "mean", "sd"]
    assert "0.700 (0.600 to 0.950)" in lines[1]
    assert lines[3].split()[1] == "0.800" and lines[4].split()[1] == "0.141"


def test_bad_data_prints_only_the_message(tmp_path, capfd):
    data = write_data(tmp_path / "Data", counts=(2, 2, 2))
    (data / "test" / "test.csv").write_text("sequence,label\nseq_00001,rally\nseq_00002,1\n")
    assert ended(data_dir=data, runs_dir=tmp_path / "runs", weights="random") == 1
    told = capfd.readouterr().err
    assert "error:" in told and "rally" in told and "Traceback" not in told
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_runner_knows_every_error_that_is_the_users():
    for path in REPO.glob("*/*.py"):
        if path.parent.name in PACKAGES and path.stem not in ("ray_cluster", "ray_extraction"):
            importlib.import_module(f"{path.parent.name}.{path.stem}")

    def names_of(kind: type) -> set[str]:
        return {kind.__name__}.union(*map(names_of, kind.__subclasses__()))

    assert set(run_notebook.USER_ERRORS) == names_of(UserError)


def test_an_unwritable_runs_folder_is_an_error(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file")
    assert ended(runs_dir=tmp_path / "runs") == 1
    told = capsys.readouterr().err
    assert "runs" in told and "Traceback" not in told


DEFAULTS = {
    "data_dir": "Data",
    "views": 1,
    "learning_rate": 1e-4,
    "allow_unlabelled": False,
    "weights": None,
    "standardise": None,
    "class_names": None,
    "run_dir": None,
}


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("data_dir", "2024", "2024"),
        ("data_dir", "None", "None"),
        ("views", "4", 4),
        ("learning_rate", "1", 1.0),
        ("allow_unlabelled", "True", True),
        ("weights", "random", "random"),
        ("weights", "None", None),
        ("standardise", "false", False),
        ("class_names", "['calm', 'fight']", ["calm", "fight"]),
    ],
)
def test_parameters_are_parsed_by_type(name, text, value):
    found = read_parameters([(name, text)], DEFAULTS)[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "name, text",
    [
        ("learning_rate", "fast"),
        ("views", "1.5"),
        ("views", "None"),
        ("standardise", "yes"),
        ("class_names", "calm"),
        ("class_names", "[1, 2]"),
        ("class_names", "['a', 'b', 'c']"),
        ("class_names", "['a', 'a']"),
        ("class_names", "{[]: 1}"),
        ("run_dir", "x"),
        ("x", "1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_before_anything_runs(name, text):
    with pytest.raises(ValueError, match=name):
        read_parameters([(name, text)], DEFAULTS)


def test_every_parameter_of_the_first_cell_can_be_set():
    inspected = papermill.inspect_notebook(run_notebook.NOTEBOOK)
    defaults = {name: ast.literal_eval(about["default"]) for name, about in inspected.items()}
    assert list(defaults)[-1] == "run_dir"  # which the runner sets
    unset = {"weights": "x.pth", "standardise": "true", "class_names": "['a', 'b']"}
    for name, default in list(defaults.items())[:-1]:
        text = str(default) if default is not None else unset.get(name, "6")
        read_parameters([(name, text)], defaults)


def test_an_unknown_parameter_is_wrong_use_and_the_known_ones_are_listed(capsys):
    assert ended(wieghts="random") == 2
    told = capsys.readouterr().err
    assert "wieghts" in told and "weights" in told


def test_the_notebook_is_short_tagged_and_without_classes():
    assert len(CODE) <= 14
    for cell in CODE:
        assert len("".join(cell["source"]).splitlines()) <= 20
        assert "class " not in "".join(cell["source"])
    tags = [cell["metadata"].get("tags", []) for cell in CODE]
    assert [k for k, of_cell in enumerate(tags) if "parameters" in of_cell] == [1]


def test_every_code_cell_follows_prose():
    kinds = [cell["cell_type"] for cell in NOTEBOOK["cells"]]
    assert kinds[0] == "markdown"
    assert ("code", "code") not in set(itertools.pairwise(kinds))


def test_the_committed_notebook_was_executed_and_says_what_it_ran_on():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    assert (REPO / "main.ipynb").stat().st_size <= 350_000
    outputs = [out for cell in CODE for out in cell["outputs"]]
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert sum("image/jpeg" in out.get("data", {}) for out in outputs) >= 7
    assert not [out for out in outputs if "image/png" in out.get("data", {})]
    text = json.dumps([out.get("text") for out in outputs])
    assert "SYNTHETIC" in text and "Backbone weights: " in text


def test_stored_outputs_keep_text_and_lose_bars_and_home_and_png():
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "PNG")
    png = base64.b64encode(picture.getvalue()).decode()
    text = f"Training: 40%|###  | 2/5\nEpoch 01 | Acc: 60.67% | Val\nin {Path.home()}/x\n"
    streams = [new_output("stream", text=each) for each in (text, "Drawing: 9%|# | 1/9\r\n")]
    shown = new_output("display_data", {"image/png": png})
    notebook = new_notebook(cells=[new_code_cell("x", outputs=[*streams, shown])])
    notebook.metadata["papermill"] = {"output_path": "/x"}
    run_notebook.strip_outputs(notebook)
    kept, image = notebook.cells[0].outputs
    assert kept.text == "Epoch 01 | Acc: 60.67% | Val\nin ~/x\n"
    jpeg = Image.open(io.BytesIO(base64.b64decode(image.data["image/jpeg"])))
    assert set(image.data) == {"image/jpeg"} and jpeg.size == (40, 30)
    assert "papermill" not in notebook.metadata


def test_the_committed_notebook_holds_no_path_of_a_machine_and_no_progress_bar():
    text = json.dumps(NOTEBOOK)
    assert str(Path.home()) not in text and str(REPO) not in text
    assert not re.search(r"/(home|root|tmp|work|Users|usr|opt)/|\.venv|[A-Z]:\\\\", text)
    assert not re.search(r"\d+%\|", text)


def bound_names(source: str) -> list[str]:
    """The names that a cell binds, once for each statement; a comprehension has its own."""
    found = []
    nodes = list(ast.parse(source).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [(alias.asname or alias.name).split(".")[0] for alias in node.names]
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
        nodes += ast.iter_child_nodes(node)
    return found


def test_every_name_of_the_notebook_is_bound_once():
    assert sorted(bound_names("import a.b\nfor c, d in [c for c in e]: f = c\nf += 1")) == [
        *("a", "c", "d", "f", "f")
    ]
    counts = Counter(itertools.chain(*map(bound_names, SOURCES)))
    assert counts.total() > 60
    assert [name for name, count in counts.items() if count > 1] == []


def test_what_to_try_next_names_three_parameters():
    tries = PROSE[PROSE.index("## What to try next") :]
    parameters = [line.split(" = ")[0] for line in SOURCES[1].splitlines()]
    named = re.findall(r"`(\w+) = [^`]+`", tries)
    assert len(named) == 3 and set(named) <= set(parameters)


def run_first_cell(source: str, folder: Path, path: str = "") -> subprocess.CompletedProcess:
    """Runs code in a new process in a folder, with no path to the project, as on Colab."""
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
    )


def test_the_first_cell_fetches_the_project_where_it_is_not_there(tmp_path):
    cell = SOURCES[0].replace('repository = ""', f"repository = {str(REPO)!r}")
    assert cell != SOURCES[0]
    stand_in, work = tmp_path / "stand_in", tmp_path / "work"  # pip: so that nothing is installed
    stand_in.mkdir()
    work.mkdir()
    (stand_in / "pip.py").write_text("import sys\nprint(*sys.argv[1:], flush=True)\n")
    for _ in range(2):  # the second time, what is there is not cloned again
        source = f"{cell}\nimport files\nprint(files.__file__)\n"
        told = run_first_cell(source, work, str(stand_in))
        assert told.returncode == 0, told.stderr
        installed, module = told.stdout.splitlines()
        assert installed.startswith("install ") and installed.endswith(" -r requirements.txt")
        assert Path(module) == work / "rally-detector" / "files.py"


def test_the_first_cell_asks_for_the_address_where_it_has_none(tmp_path):
    told = run_first_cell(SOURCES[0], tmp_path)
    assert "set repository to the address" in told.stderr and not list(tmp_path.iterdir())
