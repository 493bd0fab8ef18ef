"""Right, fast and bounded OME-Zarr pyramids of images of any size.

>>> import dask_pyramid as dp
>>> pyramid = dp.write_pyramid("nuclei.tif", "nuclei.ome.zarr")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "METHODS": "methods",
    "Comparison": "comparison",
    "Image": "image",
    "Method": "methods",
    "Progress": "runner",
    "Pyramid": "pyramid",
    "PyramidPlan": "plan",
    "StoreOptions": "store_options",
    "Verification": "verify",
    "add_levels": "extend",
    "append": "appending",
    "build_pyramid": "pyramid",
    "compare_methods": "comparing",
    "downsample": "downsampling",
    "finish_pyramid": "shares",
    "forecast": "forecasting",
    "open_image": "sources",
    "open_pyramid": "pyramid",
    "plan_pyramid": "planning",
    "prepare_pyramid": "shares",
    "resample": "resampling",
    "run_units": "shares",
    "update_pyramid": "extend",
    "verify_pyramid": "verify",
    "write_labels": "labelling",
    "write_plate": "plates",
    "write_pyramid": "write",
    "write_pyramids": "series",
}

__all__ = [
    "METHODS",
    "Comparison",
    "Image",
    "Method",
    "Progress",
    "Pyramid",
    "PyramidPlan",
    "StoreOptions",
    "Verification",
    "__version__",
    "add_levels",
    "append",
    "build_pyramid",
    "compare_methods",
    "downsample",
    "finish_pyramid",
    "forecast",
    "open_image",
    "open_pyramid",
    "plan_pyramid",
    "prepare_pyramid",
    "resample",
    "run_units",
    "update_pyramid",
    "verify_pyramid",
    "write_labels",
    "write_plate",
    "write_pyramid",
    "write_pyramids",
]

if TYPE_CHECKING:
    from dask_pyramid.appending import append
    from dask_pyramid.comparing import compare_methods
    from dask_pyramid.comparison import Comparison
    from dask_pyramid.downsampling import downsample
    from dask_pyramid.extend import add_levels, update_pyramid
    from dask_pyramid.forecasting import forecast
    from dask_pyramid.image import Image
    from dask_pyramid.labelling import write_labels
    from dask_pyramid.methods import METHODS, Method
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.planning import plan_pyramid
    from dask_pyramid.plates import write_plate
    from dask_pyramid.pyramid import Pyramid, build_pyramid, open_pyramid
    from dask_pyramid.resampling import resample
    from dask_pyramid.runner import Progress
    from dask_pyramid.series import write_pyramids
    from dask_pyramid.shares import finish_pyramid, prepare_pyramid, run_units
    from dask_pyramid.sources import open_image
    from dask_pyramid.store_options import StoreOptions
    from dask_pyramid.verify import Verification, verify_pyramid
    from dask_pyramid.write import write_pyramid


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
