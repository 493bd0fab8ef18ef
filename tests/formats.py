"""Files of every format, written by the library that owns it, with what they hold."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import mrcfile
import nibabel
import numpy as np
from mrc import save as save_dv

RNG = np.random.default_rng(7)
VOLUME = RNG.integers(0, 4000, (9, 20, 30), dtype=np.uint16)
CHANNELS = RNG.integers(0, 4000, (2, 9, 20, 30), dtype=np.uint16)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file, and the image that is in it."""

    path: Path
    pixels: np.ndarray
    axes: str = "zyx"
    scale: tuple[float, ...] = (2.0, 0.5, 0.25)
    unit: str = "micrometer"
    translation: tuple[float, ...] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()


def hdf5(folder, *, pixels=VOLUME, name="raw", **options):
    path = folder / "a.h5"
    with h5py.File(path, "a") as file:
        options = {"chunks": (4, 8, 16), "compression": "gzip"} | options
        dataset = file.create_dataset(name, data=pixels, **options)
        dataset.attrs["element_size_um"] = (2.0, 0.5, 0.25)
    return Written(path=path, pixels=pixels)


def _characters(node, **attributes):
    for name, value in attributes.items():
        node.attrs[name] = np.frombuffer(str(value).encode(), "S1")


def imaris(folder, *, times=1, x=10):
    """Write as Imaris does: padded datasets, attributes of single characters."""
    path = folder / "a.ims"
    with h5py.File(path, "w") as file:
        for t in range(times):
            for c, volume in enumerate(CHANNELS):
                node = file.create_group(
                    f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}"
                )
                padded = np.zeros((16, 32, 32), np.uint16)
                padded[:9, :20, :30] = volume + t
                node.create_dataset("Data", data=padded, chunks=(8, 16, 16))
                _characters(node, ImageSizeX=30, ImageSizeY=20, ImageSizeZ=9)
        extents = {"X": 30, "Y": 20, "Z": 9, "Unit": "um"}
        for i, (start, stop) in enumerate(((x, x + 7.5), (0, 10), (-1, 17))):
            extents |= {f"ExtMin{i}": start, f"ExtMax{i}": stop}
        _characters(file.create_group("DataSetInfo/Image"), **extents)
        for c, name in enumerate(("DNA", "actin")):
            node = file.create_group(f"DataSetInfo/Channel {c}")
            _characters(node, Name=name, Color="1.000 0.500 0.000")
        clock = {f"TimePoint{t}": f"2026-01-01 12:0{t}:00.500" for t in (1, 2)}
        _characters(file.create_group("DataSetInfo/TimeInfo"), **clock)
    return Written(
        path=path,
        pixels=CHANNELS,
        axes="czyx",
        scale=(1.0, 2.0, 0.5, 0.25),
        translation=(0.0, 0.0, 0.25, 10.125),
        channels=("DNA", "actin"),
    )


_SETUP = """<ViewSetup><id>{i}</id><name>setup {i}</name><size>30 20 9</size>
<voxelSize><unit>µm</unit><size>0.25 0.5 2.0</size></voxelSize>
<attributes><channel>{i}</channel></attributes></ViewSetup>"""
_SPIM = """<?xml version="1.0" encoding="UTF-8"?><SpimData version="0.2">
<SequenceDescription><ImageLoader format="bdv.hdf5"><hdf5 type="relative">a.h5</hdf5>
</ImageLoader><ViewSetups>{setups}<Attributes name="channel">
<Channel><id>0</id><name>DNA</name></Channel>
<Channel><id>1</id><name>actin</name></Channel></Attributes></ViewSetups>
</SequenceDescription></SpimData>"""


def bigdataviewer(folder, *, times=1):
    """Write as BigDataViewer does: unsigned values as signed ones, two resolutions."""
    with h5py.File(folder / "a.h5", "w") as file:
        for t in range(times):
            for c, volume in enumerate(CHANNELS):
                stored = (volume + 40000 + t).view(np.int16)
                view = f"t{t:05}/s{c:02}"
                options = {"chunks": (4, 16, 16), "compression": "gzip"}
                file.create_dataset(f"{view}/0/cells", data=stored, **options)
                file.create_dataset(f"{view}/1/cells", data=stored[::2, ::2, ::2])
        for c in range(2):
            file[f"s{c:02}/resolutions"] = [[1.0, 1, 1], [2, 2, 2]]
    setups = "".join(_SETUP.format(i=i) for i in (0, 1))
    (folder / "a.xml").write_text(_SPIM.format(setups=setups), encoding="utf-8")
    return Written(
        path=folder / "a.xml",
        pixels=CHANNELS + np.uint16(40000),
        axes="czyx",
        scale=(1.0, 2.0, 0.5, 0.25),
        translation=(0.0,) * 4,
        channels=("DNA", "actin"),
    )


_CODECS = {"blosc": {"cname": "zstd", "clevel": 3, "shuffle": 1}}


def n5(folder, *, name="a.n5", pixels=VOLUME, compression="gzip", **attributes):
    """Write as N5 for ImageJ does: axes and resolutions of x first."""
    import tensorstore

    path = folder / name
    metadata = {
        "compression": {"type": compression, **_CODECS.get(compression, {})},
        "dataType": pixels.dtype.name,
        "blockSize": [16, 8, 4],
        "dimensions": list(pixels.T.shape),
        "resolution": [0.25, 0.5, 2.0],
        "units": ["um"] * 3,
        "axes": ["x", "y", "z"],
    }
    store = tensorstore.open(
        {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": metadata,
        },
        create=True,
    )
    store.result().write(pixels.T).result()
    if attributes:
        file = path / "attributes.json"
        stored = {**json.loads(file.read_text()), **attributes}
        file.write_text(json.dumps({k: v for k, v in stored.items() if v is not None}))
    return Written(path=path, pixels=pixels)


def nifti(folder, *, suffix=".nii", pixels=VOLUME, affine=None, **header):
    path = folder / f"a{suffix}"
    image = nibabel.Nifti1Image(
        pixels.T, np.diag([0.25, 0.5, 2.0, 1.0]) if affine is None else affine
    )
    image.header.set_xyzt_units("micron", "sec")
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return Written(path=path, pixels=pixels)


def nifti_gz(folder):
    return nifti(folder, suffix=".nii.gz")


def mrc(folder, *, suffix=".mrc", pixels=VOLUME, **fields):
    path = folder / f"a{suffix}"
    compression = "gzip" if suffix.endswith(".gz") else None
    with mrcfile.new(path, overwrite=True, compression=compression) as file:
        file.set_data(pixels)
        file.voxel_size = (0.25, 0.5, 2.0)
        for name, value in fields.items():
            setattr(file, name, value)
    return Written(path=path, pixels=pixels, unit="angstrom")


def mrc_gz(folder):
    return mrc(folder, suffix=".map.gz")


def deltavision(folder):
    """Write two time points of DeltaVision."""
    path = folder / "a.dv"
    series = np.stack([VOLUME, VOLUME + 1])
    sizes = {"dx": 0.25, "dy": 0.5, "dz": 2.0}
    save_dv(series, path, metadata=sizes, zAxisOrder="t z")
    return Written(
        path=path,
        pixels=series,
        axes="tzyx",
        scale=(1.0, 2.0, 0.5, 0.25),
        translation=(0.0,) * 4,
    )


FORMATS = {
    "hdf5": hdf5,
    "imaris": imaris,
    "bigdataviewer": bigdataviewer,
    "n5": n5,
    "nifti": nifti,
    "nifti, compressed": nifti_gz,
    "mrc": mrc,
    "mrc, compressed": mrc_gz,
    "bioio": deltavision,
}
