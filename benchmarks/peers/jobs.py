"""One pyramid by one peer, run by the Python that has the peers: ``jobs.py PEER JOB``.

All do the same job: level 0 of an OME-Zarr image (z, y, x), levels by 2 each, cubic
chunks without shards, Blosc zstd level 3 with byte shuffle, Zarr v3. What a peer cannot
be asked for is left as it is by default. Nothing of `dask_pyramid` is used.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import zarr
from zarr.codecs import BloscCodec

BLOSC = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
AXES = ("z", "y", "x")


def factors(job: dict[str, Any]) -> list[dict[str, int]]:
    """Return the factors of the levels from level 0, by axis."""
    return [dict.fromkeys(AXES, 2**k) for k in range(1, job["levels"] + 1)]


def ngff_zarr(job: dict[str, Any], method: str) -> None:
    """Write with ngff-zarr."""
    import dask.array as da
    import ngff_zarr as nz

    image = nz.to_ngff_image(da.from_zarr(job["image"], component="0"), dims=AXES)
    levels = nz.to_multiscales(
        image,
        scale_factors=factors(job),
        chunks=job["chunk"],
        method=nz.Methods[method],
        # Its cache is for images that are larger than memory.
        cache=False,
    )
    nz.to_ngff_zarr(job["target"], levels, version="0.5", compressors=[BLOSC])


def ome_zarr(job: dict[str, Any], method: str) -> None:
    """Write with ome-zarr."""
    import dask.array as da
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    write_image(
        da.from_zarr(job["image"], component="0"),
        job["target"],
        axes=list(AXES),
        scale_factors=factors(job),
        method=Methods[method],
        scale=dict.fromkeys(AXES, 1.0),
        storage_options={"chunks": (job["chunk"],) * 3, "compressors": [BLOSC]},
    )


def ome_zarr_pyramid(job: dict[str, Any], method: str) -> None:
    """Write with ome-zarr-pyramid."""
    from ome_zarr_pyramid import io

    io.write_pyramid(
        io.read_pyramid(job["image"]).downscale(
            n_layers=job["levels"] + 1,
            scale_factor=(2, 2, 2),
            downscale_method=method,
        ),
        job["target"],
        overwrite=True,
        max_threads=job["threads"],
        chunk_shape=(job["chunk"],) * 3,
        compressor="blosc",
        compressor_params={"cname": "zstd", "clevel": 3, "shuffle": 1},
    )


def tensorstore(job: dict[str, Any], method: str) -> None:
    """Write with TensorStore, level by level; it knows no pyramids and no metadata."""
    import tensorstore as ts

    context = ts.Context({"data_copy_concurrency": {"limit": job["threads"]}})
    blosc = {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}

    def opened(path: str, **more: Any) -> Any:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
        return ts.open(spec | more, context=context).result()

    below, scales = opened(f"{job['image']}/0"), []
    zarr.create_group(job["target"], overwrite=True)
    for k in range(job["levels"] + 1):
        if k:
            below = ts.downsample(below, [2, 2, 2], method)
        made = opened(
            f"{job['target']}/{k}",
            create=True,
            metadata={
                "shape": below.shape,
                "data_type": below.dtype.name,
                "chunk_grid": {
                    "name": "regular",
                    "configuration": {"chunk_shape": [job["chunk"]] * 3},
                },
                "codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "blosc", "configuration": blosc},
                ],
            },
        )
        made.write(below).result()
        below = made
        scales.append((2.0**k, (2**k - 1) / 2))
    zarr.open_group(job["target"]).attrs["ome"] = multiscales(scales)


def multiscales(scales: list[tuple[float, float]]) -> dict[str, Any]:
    """Return the metadata that its user would have to write."""
    datasets = [
        {
            "path": str(k),
            "coordinateTransformations": [
                {"type": "scale", "scale": [scale] * 3},
                {"type": "translation", "translation": [offset] * 3},
            ],
        }
        for k, (scale, offset) in enumerate(scales)
    ]
    axes = [{"name": axis, "type": "space"} for axis in AXES]
    return {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}


PEERS = {
    "ngff-zarr, Gaussian": (ngff_zarr, "ITKWASM_GAUSSIAN"),
    "ngff-zarr, bin-shrink": (ngff_zarr, "ITKWASM_BIN_SHRINK"),
    "ome-zarr, resize": (ome_zarr, "RESIZE"),
    "ome-zarr, local_mean": (ome_zarr, "LOCAL_MEAN"),
    "ome-zarr-pyramid, mean": (ome_zarr_pyramid, "mean"),
    "TensorStore, mean": (tensorstore, "mean"),
}
"""What each is called, the function, and its method."""


def main() -> None:
    """Do one job."""
    function, method = PEERS[sys.argv[1]]
    job = json.loads(sys.argv[2])
    import dask

    with dask.config.set(scheduler="threads", num_workers=job["threads"]):
        function(job, method)


if __name__ == "__main__":
    main()
