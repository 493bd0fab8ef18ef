import inspect
import subprocess
import sys

import pytest

import dask_pyramid as dp

PUBLIC = [name for name in dp.__all__ if not name.startswith("_")]
HEAVY = {
    "PIL",
    "click",
    "dask",
    "dask_image",
    "distributed",
    "matplotlib",
    "napari",
    "neuroglancer",
    "numba",
    "obstore",
    "ome_zarr",
    "pandas",
    "psutil",
    "scipy",
    "tifffile",
    "tqdm",
    "zarr",
    "zarrs",
}


def test_all_names_what_the_contract_names():
    assert set(PUBLIC) >= {
        "build_pyramid",
        "downsample",
        "open_image",
        "open_pyramid",
        "plan_pyramid",
        "write_pyramid",
        "Image",
        "Pyramid",
        "PyramidPlan",
    }
    assert len(set(dp.__all__)) == len(dp.__all__)
    assert dir(dp) == sorted(dp.__all__)
    for name in dp.__all__:
        assert getattr(dp, name) is not None


def test_what_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'downscale'"):
        dp.downscale  # noqa: B018


def callables():
    for name in PUBLIC:
        value = getattr(dp, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for member, function in inspect.getmembers(value, inspect.isfunction):
                if not member.startswith("_") and function.__module__.startswith(
                    "dask_p"
                ):
                    yield f"{name}.{member}", function


@pytest.mark.parametrize(("name", "function"), list(callables()))
def test_every_public_callable_documents_parameters_and_result(name, function):
    text = inspect.getdoc(function)
    assert text, name
    assert text.splitlines()[0].endswith("."), "the summary is one line"
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters if p not in ("self", "cls")]
    if parameters and "." not in name:
        assert "\nParameters\n----------\n" in text
        section = text.partition("Parameters\n")[2].partition("\nReturns\n")[0]
        for parameter in parameters:
            assert parameter in section, f"{parameter} of {name} is not documented"
    if "." not in name:
        assert "\nReturns\n-------\n" in text
        assert "\nRaises\n------\n" in text
        assert "\nExamples\n--------\n" in text or name == "open_pyramid"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name):
    assert inspect.getdoc(getattr(dp, name))


def test_signatures_are_those_of_the_contract():
    write = inspect.signature(dp.write_pyramid).parameters
    for name in (
        "method",
        "scale_factors",
        "axes",
        "scale",
        "unit",
        "chunks",
        "shards",
        "compressors",
        "version",
        "memory_limit",
        "mode",
        "client",
        "workers",
        "retries",
        "progress",
    ):
        assert write[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert write["version"].default is None, "the configuration may have another"
    assert write["mode"].default == "w-"
    opened = list(inspect.signature(dp.open_image).parameters)
    reading = ["source", "axes", "scale", "translation", "unit", "name"]
    assert opened == [*reading, "labels", "storage_options"]
    down = inspect.signature(dp.downsample).parameters
    assert list(down)[:3] == ["array", "factors", "method"]
    assert down["method"].default == "mean"
    for name in (
        "levels",
        "units",
        "n_tasks",
        "peak_memory",
        "bytes_read",
        "bytes_written",
        "n_objects",
        "decode_amplification",
        "to_json",
    ):
        assert hasattr(dp.PyramidPlan, name)
    for name in ("levels", "scale", "translation", "axes", "unit", "method", "write"):
        assert hasattr(dp.Pyramid, name) or name in dp.Pyramid.__dataclass_fields__


def loaded(code):
    """Return the third-party packages that a fresh interpreter has loaded."""
    script = (
        f"import sys\n{code}\nprint(' '.join(n for n in sys.modules if '.' not in n))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded("import dask_pyramid") & (HEAVY | {"numpy"})


def test_public_names_load_numpy_at_most():
    # What they do not load together, none of them loads alone.
    assert not loaded(f"from dask_pyramid import {', '.join(PUBLIC)}") & HEAVY


def test_numpy_arrays_are_downsampled_without_dask_zarr_or_numba():
    code = (
        "import numpy as np, dask_pyramid as dp\n"
        "dp.downsample(np.zeros((64, 64), 'uint8'), 2, 'gaussian')"
    )
    assert not loaded(code) & HEAVY
