"""`Pyramid`: all levels of an image, lazy; built from an image, or opened."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dask_pyramid import graph
from dask_pyramid.masks import open_mask
from dask_pyramid.methods import METHODS, Method
from dask_pyramid.planning import plan_pyramid
from dask_pyramid.plate_info import refuse_plate
from dask_pyramid.sources import open_image
from dask_pyramid.sources.stored import open_stored, stored_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da
    import numpy as np
    from matplotlib.figure import Figure
    from xarray import DataTree

    from dask_pyramid.factors import ScaleFactors
    from dask_pyramid.geometry import Factor
    from dask_pyramid.image import Image
    from dask_pyramid.masks import Mask
    from dask_pyramid.plan import PyramidPlan
    from dask_pyramid.store import targets
    from dask_pyramid.store_options import StoreOptions

__all__ = ["Pyramid", "build_pyramid", "open_pyramid", "stored_pyramid"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pyramid:
    """All levels of an image, lazy; made by `build_pyramid` or `open_pyramid`."""

    image: Image
    """Level 0 with its metadata."""
    scale: tuple[tuple[float, ...], ...]
    """Spacing of voxel centres, for each level and axis, in `unit`."""
    translation: tuple[tuple[float, ...], ...]
    """World position of the centre of voxel 0, for each level and axis, in `unit`."""
    method: str | None
    """Name of the method; None if the store does not say."""
    plan: PyramidPlan | None = field(default=None, repr=False)
    """The plan, if the pyramid was built here."""
    mask: Mask | None = field(default=None, repr=False)
    """Which voxels count, if the pyramid was built here with a mask."""
    stored: tuple[Image, ...] = field(default=(), repr=False)
    """An image for each level, if the pyramid was opened."""
    location: str = ""
    """Where it is stored; empty if it is not."""
    group: Any = field(default=None, repr=False)
    """The zarr group, if the pyramid was opened."""

    @cached_property
    def labels(self) -> dict[str, Pyramid]:
        """Its label images by name, as its `labels` group lists them."""
        if self.group is None:
            return {}
        return {
            name: replace(
                open_pyramid(found), location=f"{self.location}/labels/{name}"
            )
            for name, found in stored_labels(self.group).items()
        }

    @cached_property
    def levels(self) -> tuple[da.Array, ...]:
        """Dask arrays, level 0 first; nothing is read before they are computed."""
        if self.plan is not None:
            return graph.lazy_levels(self.image, self.plan, mask=self.mask)
        return tuple(image.data for image in self.stored)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes in storage order."""
        return self.image.axes

    @property
    def unit(self) -> tuple[str | None, ...]:
        """Unit of each axis, or None."""
        return self.image.unit

    @property
    def name(self) -> str:
        """What viewers call the image."""
        return self.image.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of all levels."""
        return self.image.dtype

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Extent of each level in voxels."""
        if self.plan is not None:
            return tuple(level.shape for level in self.plan.levels)
        return tuple(image.shape for image in self.stored)

    def write(self, target: Any, **options: Any) -> Pyramid:
        """Write the pyramid; options as for `write_pyramid`.

        Parameters
        ----------
        target : path, URL or zarr store
            Where to.
        **options
            Keyword arguments of `write_pyramid`; by default method, sigma, nodata,
            mask, factors and chunks are those of this pyramid.

        Returns
        -------
        Pyramid
            The pyramid as it is stored.
        """
        factors = self._factors()
        options.setdefault("scale_factors", factors)
        if self.plan is not None:
            options.setdefault("method", self.plan.method)
            options.setdefault("sigma", self.plan.sigma)
            if self.plan.nodata is not None:
                options = {**self.plan.nodata.options, "mask": self.mask, **options}
            options.setdefault("chunks", [level.chunks for level in self.plan.levels])
        elif self.method in METHODS:
            options.setdefault("method", self.method)
        from dask_pyramid.write import write_pyramid

        return write_pyramid(self.image, target, **options)

    def _factors(self) -> list[dict[str, Factor]]:
        """Return the factors of the levels, from their spacing if they were opened."""
        if self.plan is not None:
            return [
                dict(zip(self.axes, level.factors, strict=True))
                for level in self.plan.levels[1:]
            ]
        factors: list[dict[str, Factor]] = []
        for scale in self.scale[1:]:
            ratios = [s / t for s, t in zip(scale, self.scale[0], strict=True)]
            if any(abs(r - round(r)) > 1e-3 * r for r in ratios):
                raise ValueError(
                    f"scale_factors must be given for levels that are no whole "
                    f"multiples of level 0, got {ratios!r}"
                )
            factors.append(dict(zip(self.axes, map(round, ratios), strict=True)))
        return factors

    def to_datatree(self) -> DataTree:
        """Return the pyramid as an xarray `DataTree`; nothing is read.

        Returns
        -------
        xarray.DataTree
            ``scale0/image``, ``scale1/image`` and so on: dask arrays, with coordinates
            of the centres of voxels along each axis, their unit as ``units``, and names
            of channels. `open_pyramid` and `open_image` take it back.

        Raises
        ------
        ImportError
            If xarray is not installed (extra ``dask-pyramid[xarray]``).
        """
        from dask_pyramid.datatrees import to_tree

        return to_tree(self)

    def plot(self, **options: Any) -> Figure:
        """Draw the levels side by side, with voxel sizes and a scale bar.

        Parameters
        ----------
        **options
            Keyword arguments of `dask_pyramid.figure.plot_pyramid`.

        Returns
        -------
        matplotlib.figure.Figure
            Needs the extra ``dask-pyramid[plot]``; reads what it draws.
        """
        from dask_pyramid.figure import plot_pyramid

        return plot_pyramid(self, **options)

    def view(
        self, *, viewer: str = "neuroglancer", port: int = 0, browser: bool = True
    ) -> Any:
        """Show the pyramid and its labels in a viewer.

        Parameters
        ----------
        viewer : {"neuroglancer", "napari"}
            Neuroglancer runs in a browser and reads the store, of OME-Zarr 0.4 or 0.5,
            through a server in this process, which listens on this machine alone.
            napari opens a window.
        port : int
            Port of the server; 0 takes one that is free.
        browser : bool
            Whether to open a browser, where there is one with windows.

        Returns
        -------
        View or napari.Viewer
            A `View` serves until it is closed or the process ends; its `url` is what to
            open. Needs the extra ``dask-pyramid[neuroglancer]`` or
            ``dask-pyramid[napari]``.

        Raises
        ------
        ImportError
            If the viewer is not installed.
        OSError
            If the port is taken.
        ValueError
            If the viewer cannot show the pyramid.
        """
        from dask_pyramid.viewing import view_pyramid

        return view_pyramid(self, viewer=viewer, port=port, browser=browser)

    def __str__(self) -> str:
        from dask_pyramid.report import pyramid_text

        return pyramid_text(self)

    def _repr_html_(self) -> str:
        from dask_pyramid.report import pyramid_html

        return pyramid_html(self)


def build_pyramid(
    image: Any,
    *,
    method: str | Method | None = None,
    sigma: float | Mapping[str, float] | Sequence[float] | None = None,
    nodata: float | None = None,
    skip_nan: bool = False,
    mask: Any = None,
    scale_factors: ScaleFactors = "auto",
    chunks: Any = None,
) -> Pyramid:
    """Build a lazy pyramid; nothing is read.

    Parameters
    ----------
    image : Image, path, URL or array
        What `open_image` takes.
    method, sigma, nodata, skip_nan, mask, scale_factors, chunks
        As for `plan_pyramid`; `chunks` decides where ``"auto"`` factors end.

    Returns
    -------
    Pyramid
        `levels` are dask arrays of the same kind of blocks as the image.

    Raises
    ------
    ValueError
        As `plan_pyramid`.

    Examples
    --------
    >>> import numpy as np
    >>> pyramid = build_pyramid(np.zeros((60, 300, 300), "uint16"), method="mean")
    >>> pyramid.levels[1].shape, pyramid.translation[1]
    ((30, 150, 150), (0.5, 0.5, 0.5))
    """
    opened = open_image(image)
    opened_mask = open_mask(mask, axes=opened.axes, shape=opened.shape)
    plan = plan_pyramid(
        opened,
        method=method,
        sigma=sigma,
        nodata=nodata,
        skip_nan=skip_nan,
        mask=opened_mask,
        scale_factors=scale_factors,
        chunks=chunks,
    )
    return Pyramid(
        image=opened,
        scale=tuple(level.scale for level in plan.levels),
        translation=tuple(level.translation for level in plan.levels),
        method=plan.method.name,
        plan=plan,
        mask=opened_mask and opened_mask.of_levels(plan.levels),
    )


def stored_pyramid(target: targets.Target) -> Pyramid:
    """Return the pyramid at a target."""
    if not target.location:
        return open_pyramid(target.store)
    return open_pyramid(target.location, storage_options=target.options)


def open_pyramid(
    location: Any, *, storage_options: Mapping[str, Any] | StoreOptions | None = None
) -> Pyramid:
    """Open a stored pyramid; nothing is read but metadata.

    Parameters
    ----------
    location : path, URL, zarr store, zarr.Group or xarray.DataTree
        An OME-Zarr image of version 0.4, 0.5 or 0.6, by whatever tool; or a tree of
        levels, such as `Pyramid.to_datatree` makes.
    storage_options : dict or StoreOptions, optional
        How to open a URL; as for `open_image`.

    Returns
    -------
    Pyramid
        Its levels as dask arrays, with scale and translation of each.

    Raises
    ------
    FileNotFoundError
        If there is nothing there.
    ValueError
        If it is no OME-Zarr image, or an unfinished one; of a plate the message names
        the images.
    PermissionError
        If a store refuses the credentials, or there are none.
    """
    try:
        stored = open_stored(location, storage_options=storage_options)
    except ValueError:
        refuse_plate(location, storage_options)
        raise
    return Pyramid(
        image=stored.levels[0],
        stored=stored.levels,
        scale=tuple(level.scale for level in stored.levels),
        translation=tuple(level.translation for level in stored.levels),
        method=stored.method,
        location=stored.location,
        group=stored.group,
    )
