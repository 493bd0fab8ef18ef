"""Every notebook runs, as it stands, from its own folder."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.once

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Offer this interpreter as the only kernel, whatever else is installed."""
    from ipykernel.kernelspec import install

    install(prefix=str(tmp_path))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # Kept outputs are those of the full size, every claim must hold at either.
    monkeypatch.setenv("NOTEBOOK_SHRINK", "2")


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.filterwarnings("default")  # Jupyter's own; the kernel has its filters
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_keeps_its_outputs(path, kernels):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "outputs must be kept"
    assert "assert" in code[-1].source, "the last cell must assert the claims"
    before = sorted(path.parent.rglob("*"))
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    assert sorted(path.parent.rglob("*")) == before, "a notebook must leave no files"


def test_a_kernel_is_this_interpreter(kernels):
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("python3")
    assert Path(spec.argv[0]).samefile(sys.executable)
