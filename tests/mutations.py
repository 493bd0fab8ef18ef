"""Good stores, and single faults to put into copies of them.

Each fault is a function of a `Store`; `FAULTS` says in which stores it is put and which
finding must name it. ``python tests/mutations.py`` prints how many are caught.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import zarr

import dask_pyramid as dp
from dask_pyramid.provenance import LevelRecord

SHAPE = (2, 20, 44, 52)


@contextmanager
def nothing():
    """Let pass what other packages warn about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def pixels(shape=SHAPE, dtype="uint16"):
    """A smooth image with noise: no block is constant, and shifts show."""
    rng = np.random.default_rng(5)
    grid = np.indices(shape)
    smooth = sum(np.sin(g / (3 + i)) for i, g in enumerate(grid))
    return (1000 + 200 * smooth + rng.normal(0, 30, shape)).astype(dtype)


def ids(shape=SHAPE[1:]):
    """Labels: boxes of ids, some of them large."""
    grid = np.indices(shape) // 5
    return (grid[0] * 10000 + grid[1] * 100 + grid[2] + 1).astype("uint32")


def intensity(version, shards, method="gaussian"):
    def build(path):
        dp.write_pyramid(
            pixels(),
            path,
            axes="czyx",
            version=version,
            shards=shards,
            chunks=(1, 8, 16, 16),
            scale_factors=[2, 4],
            unit="um",
            scale=(1, 0.5, 0.25, 0.25),
            translation=(0, 3, 2, 1),
            method=method,
            name="image",
        )

    return build


def labelled(path):
    """An image with a label image below it."""
    dp.write_pyramid(
        pixels(SHAPE[1:]),
        path,
        axes="zyx",
        chunks=16,
        shards=False,
        scale_factors=[2],
        unit="um",
    )
    group = zarr.open_group(path, mode="r+").create_group("labels")
    group.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    dp.write_pyramid(
        replace(dp.open_image(ids(), axes="zyx", unit="um"), labels=True),
        path / "labels" / "cells",
        chunks=16,
        shards=False,
        scale_factors=[2],
    )


def strip(build):
    """Build the same without a record, so that content alone tells."""

    def bare(path):
        build(path)
        for group in (path, path / "labels" / "cells"):
            if group.exists():
                with Store(group).attributes() as found:
                    del found["dask-pyramid"]

    return bare


STORES = {
    "0.4": strip(intensity("0.4", False)),
    "0.5": strip(intensity("0.5", False)),
    "0.5 sharded": strip(intensity("0.5", (1, 16, 32, 32))),
    "0.6": strip(intensity("0.6", None, "mean")),
    "labels": strip(labelled),
    "recorded": intensity("0.5", False),
    "recorded 0.4": intensity("0.4", False),
    "recorded sharded": intensity("0.5", (1, 16, 32, 32)),
}
IMAGES = ("0.4", "0.5", "0.5 sharded", "0.6")


@dataclass(frozen=True)
class Store:
    """A copy of a good store, to be damaged."""

    path: Path

    @property
    def v2(self):
        return (self.path / ".zattrs").exists()

    @contextmanager
    def document(self, name=""):
        """Give the metadata of a node as a dict; what is changed is written back."""
        folder = self.path / name
        file = folder / ("zarr.json" if not self.v2 else ".zarray")
        found = json.loads(file.read_text())
        yield found
        file.write_text(json.dumps(found))

    @contextmanager
    def attributes(self, name=""):
        file = self.path / name / (".zattrs" if self.v2 else "zarr.json")
        found = json.loads(file.read_text())
        yield found if self.v2 else found["attributes"]
        file.write_text(json.dumps(found))

    @contextmanager
    def ome(self, name=""):
        with self.attributes(name) as found:
            yield found.get("ome", found)

    @contextmanager
    def entry(self, name=""):
        with self.ome(name) as found:
            yield found["multiscales"][0]

    @contextmanager
    def axes(self):
        with self.entry() as entry:
            yield (
                entry["axes"]
                if "axes" in entry
                else entry["coordinateSystems"][0]["axes"]
            )

    @contextmanager
    def steps(self, level=1):
        """Give the list [scale, translation] of a level."""
        with self.entry() as entry:
            steps = entry["datasets"][level]["coordinateTransformations"]
            yield steps[0]["transformations"] if "coordinateSystems" in entry else steps

    def objects(self, level):
        """Return the files of a level's objects, largest in the middle of the list."""
        top = self.path / str(level)
        return sorted(
            p
            for p in top.rglob("*")
            if p.is_file() and p.name not in ("zarr.json", ".zarray", ".zattrs")
        )

    def array(self, level):
        return zarr.open_array(self.path, path=str(level), mode="r+")


@dataclass(frozen=True)
class Fault:
    """One fault, where it is put, and what must be found."""

    name: str
    stores: tuple[str, ...]
    make: Any
    codes: tuple[str, ...]
    """Any of these errors will do."""
    sample: Any = "structure"


FAULTS: list[Fault] = []


def fault(*codes, stores=IMAGES, sample="structure", **given):
    """Register a fault."""

    def register(make):
        name = make.__name__.replace("_", " ")
        if given:
            name += f" ({', '.join(f'{k} {v}' for k, v in given.items())})"
        FAULTS.append(Fault(name, stores, lambda s: make(s, **given), codes, sample))
        return make

    return register


# --- objects ---------------------------------------------------------------------

_BROKEN = ("object-undecodable", "content-wrong", "object-missing")

for _level in range(3):

    @fault("object-missing", sample=16, level=_level)
    def missing_object(store, level):
        store.objects(level)[-1].unlink()

    @fault("object-undecodable", sample=16, level=_level)
    def truncated_object(store, level):
        file = store.objects(level)[0]
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    @fault("object-undecodable", sample=16, level=_level)
    def object_without_bytes(store, level):
        store.objects(level)[0].write_bytes(b"")

    @fault("object-undecodable", sample=16, level=_level)
    def zeroed_object(store, level):
        file = store.objects(level)[0]
        file.write_bytes(bytes(file.stat().st_size))

    @fault("object-undecodable", "content-wrong", sample=16, level=_level)
    def flipped_bit(store, level):
        file = store.objects(level)[0]
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 16
        file.write_bytes(raw)

    @fault("content-wrong", "object-undecodable", sample=16, level=_level)
    def swapped_objects(store, level):
        first, *_, last = store.objects(level)
        a, b = first.read_bytes(), last.read_bytes()
        first.write_bytes(b)
        last.write_bytes(a)

    @fault("content-wrong", sample=16, level=_level)
    def constant_chunk(store, level):
        store.array(level)[0, :8, :16, :16] = 7

    @fault("content-wrong", sample="full", level=_level)
    def one_voxel_changed(store, level):
        array = store.array(level)
        array[1, 3, 5, 7] = array[1, 3, 5, 7] + 100


# --- a record of what was written ------------------------------------------------

RECORDED = ("recorded", "recorded 0.4", "recorded sharded")

for _level in range(3):

    @fault("object-missing", stores=RECORDED, level=_level)
    def missing_object_of_a_record(store, level):
        store.objects(level)[-1].unlink()

    @fault("object-changed", stores=RECORDED, level=_level)
    def truncated_object_of_a_record(store, level):
        file = store.objects(level)[0]
        file.write_bytes(file.read_bytes()[:-5])

    @fault("object-changed", stores=RECORDED, sample="full", level=_level)
    def swapped_objects_of_a_record(store, level):
        first, *_, last = store.objects(level)
        a, b = first.read_bytes(), last.read_bytes()
        first.write_bytes(b)
        last.write_bytes(a)

    @fault("object-changed", stores=RECORDED, sample="full", level=_level)
    def rewritten_object_of_a_record(store, level):
        array = store.array(level)
        array[0, 0, 0, 0] = array[0, 0, 0, 0] + 1


@fault("object-changed", stores=RECORDED)
def additional_object_of_a_record(store):
    file = store.objects(0)[0]
    with store.attributes() as found:
        level = LevelRecord.from_json(found["dask-pyramid"]["levels"][0])
        tally = level.tally()
        raw = file.read_bytes()
        tally.remove((0, 0, 0, 0), size=len(raw), crc32=crc32(raw))
        changed = LevelRecord.counted(level, tally)
        found["dask-pyramid"]["levels"][0] = changed.to_json()


@fault("record-wrong", stores=RECORDED)
def damaged_record(store):
    with store.attributes() as found:
        found["dask-pyramid"]["levels"][1]["checksums"] = "!"


@fault("content-method", stores=RECORDED)
def method_that_the_record_does_not_say(store):
    with store.entry() as entry:
        entry["type"] = "mean"


# --- geometry --------------------------------------------------------------------


@fault("scale-wrong", "scale-shape")
def wrong_scale_of_one_axis(store):
    with store.steps() as steps:
        steps[0]["scale"][2] *= 1.5


@fault("scale-wrong")
def scale_that_is_the_ratio_of_odd_shapes(store):
    with store.steps(2) as steps:
        steps[0]["scale"][2] *= 1.02


@fault("scale-shape", "datasets-order")
def scale_of_the_level_before(store):
    with store.entry() as entry:
        first, second = entry["datasets"][:2]
        key = "coordinateTransformations"
        text = json.dumps(first[key]).replace('"path": "0"', '"path": "1"')
        second[key] = json.loads(text)


@fault("scale-shape")
def scale_of_the_channel_axis(store):
    with store.steps() as steps:
        steps[0]["scale"][0] = 2.0


@fault("translation-wrong")
def no_translation(store):
    with store.steps() as steps:
        del steps[1]


@fault("translation-wrong")
def translation_without_the_half_pixel(store):
    with store.steps(0) as steps:
        origin = steps[1]["translation"]
    with store.steps(1) as steps:
        steps[1]["translation"] = origin


@fault("translation-wrong")
def half_a_pixel_too_far(store):
    with store.steps(1) as steps:
        steps[1]["translation"][3] += 0.125


@fault("translation-wrong")
def translation_of_the_wrong_sign(store):
    with store.steps(2) as steps:
        steps[1]["translation"] = [-t for t in steps[1]["translation"]]


@fault("translation-wrong")
def translation_of_another_level(store):
    with store.steps(2) as steps:
        given = steps[1]["translation"]
    with store.steps(1) as steps:
        steps[1]["translation"] = given


@fault("transformations-invalid")
def translation_before_scale(store):
    with store.steps() as steps:
        steps.reverse()


@fault("transformations-invalid")
def two_scales(store):
    with store.steps() as steps:
        steps.append(dict(steps[0]))


@fault("transformations-invalid")
def no_transformations(store):
    with store.steps() as steps:
        steps.clear()


@fault("transformation-numbers")
def too_few_numbers(store):
    with store.steps() as steps:
        steps[0]["scale"].pop()


@fault("transformation-numbers")
def scale_of_zero(store):
    with store.steps() as steps:
        steps[0]["scale"][1] = 0


@fault("transformation-numbers")
def numbers_as_texts(store):
    with store.steps() as steps:
        steps[1]["translation"] = list(map(str, steps[1]["translation"]))


@fault("transformation-ends", stores=("0.6",))
def input_of_another_level(store):
    with store.entry() as entry:
        step = entry["datasets"][1]["coordinateTransformations"][0]
        step["input"] = {"path": "0"}


@fault("transformation-ends", stores=("0.6",))
def output_that_does_not_exist(store):
    with store.entry() as entry:
        step = entry["datasets"][1]["coordinateTransformations"][0]
        step["output"] = {"name": "nowhere"}


# --- axes ------------------------------------------------------------------------


@fault("axes-order", "dimension-names")
def axes_in_another_order(store):
    with store.axes() as axes:
        axes.reverse()


@fault("axes-order", "dimension-names")
def y_and_x_exchanged(store):
    with store.axes() as axes:
        axes[2], axes[3] = axes[3], axes[2]


@fault("axes-name", "dimension-names")
def two_axes_of_one_name(store):
    with store.axes() as axes:
        axes[2]["name"] = "x"


@fault("axes-type")
def channel_of_type_space(store):
    with store.axes() as axes:
        axes[0]["type"] = "space"


@fault("axes-type", "axes-order")
def z_of_type_time(store):
    with store.axes() as axes:
        axes[1]["type"] = "time"


@fault("array-ndim")
def an_axis_too_few(store):
    with store.axes() as axes:
        del axes[0]


@fault("axes-unit")
def abbreviated_unit(store):
    with store.axes() as axes:
        axes[3]["unit"] = "um"


@fault("axes-unit")
def unit_of_time_for_space(store):
    with store.axes() as axes:
        axes[3]["unit"] = "second"


@fault("dimension-names", stores=IMAGES[1:])
def other_dimension_names(store):
    with store.document("1") as found:
        found["dimension_names"] = ["c", "z", "x", "y"]


@fault("dimension-names", stores=("0.5", "0.5 sharded"))
def no_dimension_names(store):
    with store.document("2") as found:
        del found["dimension_names"]


# --- levels ----------------------------------------------------------------------


@fault("array-dtype", sample=16)
def level_of_another_dtype(store):
    values = store.array(1)[:]
    rewrite(store, 1, values.astype("uint32"))


@fault("level-larger", "record-wrong")
def level_larger_than_its_parent(store):
    rewrite(store, 2, np.ones((2, 12, 30, 30), "uint16"))


@fault("axis-reduced")
def reduced_channel_axis(store):
    rewrite(store, 1, store.array(1)[:1])


@fault("level-not-reduced", "record-wrong")
def level_as_large_as_its_parent(store):
    rewrite(store, 2, store.array(1)[:])


def rewrite(store, level, values):
    """Replace the array of a level, with its layout and names."""
    old = store.array(level)
    names = getattr(old.metadata, "dimension_names", None)
    more = {"dimension_names": names} if names else {}
    if store.v2:
        more = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    chunks, form = old.chunks, old.metadata.zarr_format
    shutil.rmtree(store.path / str(level))
    group = zarr.open_group(store.path, mode="r+", zarr_format=form)
    new = group.create_array(
        str(level), shape=values.shape, dtype=values.dtype, chunks=chunks, **more
    )
    new[...] = values


@fault("node-missing", "stale-level")
def dataset_that_names_no_array(store):
    with store.entry() as entry:
        entry["datasets"][2]["path"] = "3"


@fault("node-missing")
def level_without_metadata(store):
    name = ".zarray" if store.v2 else "zarr.json"
    (store.path / "1" / name).unlink()


@fault("stale-level")
def level_that_no_dataset_names(store):
    shutil.copytree(store.path / "2", store.path / "3")


@fault("stale-level", "record-wrong")
def dataset_removed(store):
    with store.entry() as entry:
        entry["datasets"].pop()


@fault("path-repeated")
def level_named_twice(store):
    with store.entry() as entry:
        entry["datasets"].append(dict(entry["datasets"][2]))


@fault("scale-shape", "datasets-order", "level-larger")
def levels_in_reverse_order(store):
    with store.entry() as entry:
        entry["datasets"].reverse()


@fault("scale-shape", "translation-wrong", "level-larger", "path-repeated")
def paths_of_two_levels_exchanged(store):
    with store.entry() as entry:
        one, two = entry["datasets"][1:3]
        one["path"], two["path"] = two["path"], one["path"]


@fault("path-unsafe")
def path_that_leaves_the_group(store):
    with store.entry() as entry:
        entry["datasets"][1]["path"] = f"../{store.path.name}/1"


@fault("path-unsafe")
def absolute_path(store):
    with store.entry() as entry:
        entry["datasets"][1]["path"] = str(store.path / "1")


@fault("path-unsafe")
def path_with_an_empty_part(store):
    with store.entry() as entry:
        entry["datasets"][1]["path"] = "1//"


@fault("path-unsafe", stores=("0.5",))
def path_of_a_folder_of_chunks(store):
    with store.entry() as entry:
        entry["datasets"][1]["path"] = "0/c"


@fault("link-outside")
def level_that_is_a_link_out_of_the_store(store):
    aside = store.path.with_name("aside")
    shutil.move(store.path / "1", aside)
    (store.path / "1").symlink_to(aside)


@fault("link-outside")
def object_that_is_a_link_out_of_the_store(store):
    file = store.objects(0)[0]
    aside = store.path.with_name("aside")
    shutil.move(file, aside)
    file.symlink_to(aside)


@fault("array-separator", "object-missing", stores=("0.4",), sample=16)
def separator_that_is_a_dot(store):
    with store.document("1") as found:
        found["dimension_separator"] = "."


@fault("array-invalid")
def array_without_shape(store):
    with store.document("1") as found:
        del found["shape"]


@fault("scale-shape", "record-wrong")
def shape_cut(store):
    with store.document("1") as found:
        found["shape"][3] -= 3


# --- content ---------------------------------------------------------------------


@fault("content-wrong", sample=16)
def level_of_another_method(store):
    old = store.array(0)[:]
    store.array(1)[...] = dp.downsample(old, (1, 2, 2, 2), "max")


@fault("content-wrong", sample=16)
def level_made_from_the_wrong_parent(store):
    old = store.array(0)[:]
    values = dp.downsample(old, (1, 4, 4, 4), "gaussian")
    store.array(2)[...] = values


@fault("content-wrong", sample=16)
def content_shifted_by_one_voxel(store):
    store.array(1)[...] = np.roll(store.array(1)[:], 1, axis=3)


@fault("content-wrong", sample=16)
def truncated_instead_of_rounded(store):
    old = store.array(0)[:].astype(float)
    sums = sum(
        old[:, i::2, j::2, k::2] for i, j, k in itertools.product((0, 1), repeat=3)
    )
    store.array(1)[...] = (sums / 8).astype("uint16")


@fault("content-wrong", sample=16)
def channels_exchanged(store):
    store.array(2)[...] = store.array(2)[:][::-1]


# --- group -----------------------------------------------------------------------


@fault("multiscales-missing")
def no_multiscales(store):
    with store.ome() as ome:
        del ome["multiscales"]


@fault("multiscales-invalid")
def multiscales_that_is_no_list(store):
    with store.ome() as ome:
        ome["multiscales"] = ome["multiscales"][0]


@fault("datasets-invalid")
def no_datasets(store):
    with store.entry() as entry:
        entry["datasets"] = []


@fault("unfinished")
def mark_of_an_unfinished_pyramid(store):
    with store.attributes() as found:
        found["dask-pyramid"] = {"status": "unfinished"}


@fault("version-wrong")
def version_of_another_format(store):
    with store.ome() as ome:
        holder = ome["multiscales"][0] if store.v2 else ome
        holder["version"] = "0.5" if store.v2 else "0.4"


@fault("version-wrong", stores=IMAGES[1:])
def no_version(store):
    with store.ome() as ome:
        del ome["version"]


@fault("version-wrong")
def version_that_is_a_number(store):
    with store.ome() as ome:
        (ome["multiscales"][0] if store.v2 else ome)["version"] = 0.5


@fault("content-method")
def type_of_another_method(store):
    with store.entry() as entry:
        entry["type"] = "nearest"


@fault("json-invalid")
def metadata_cut_off(store):
    file = store.path / (".zattrs" if store.v2 else "zarr.json")
    file.write_text(file.read_text()[:-10])


@fault("consolidated-stale", stores=("0.5",))
def stale_consolidated_metadata(store):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(store.path)
    with store.document("1") as found:
        found["shape"][3] -= 1
    with store.document("1") as found:
        found["shape"][3] += 1
        found["fill_value"] = 1


# --- rendering -------------------------------------------------------------------


@fault("omero-color")
def colour_with_a_hash(store):
    with store.ome() as ome:
        ome["omero"]["channels"][0]["color"] = "#FF00FF"


@fault("omero-window")
def window_without_end(store):
    with store.ome() as ome:
        del ome["omero"]["channels"][0]["window"]["end"]


@fault("omero-window")
def empty_window(store):
    with store.ome() as ome:
        ome["omero"]["channels"][1]["window"].update(start=5, end=5)


@fault("omero-channels")
def channel_that_is_not_described(store):
    with store.ome() as ome:
        ome["omero"]["channels"].pop()


@fault("omero-invalid")
def channels_that_are_no_list(store):
    with store.ome() as ome:
        ome["omero"]["channels"] = {}


# --- labels ----------------------------------------------------------------------

LABELS = ("labels",)
_CELLS = "labels/cells"


@fault("labels-list", stores=LABELS)
def labels_without_their_list(store):
    with store.ome("labels") as ome:
        del ome["labels"]


@fault("labels-list", stores=LABELS)
def labels_folder_without_a_group(store):
    (store.path / "labels" / "zarr.json").unlink()


@fault("label-missing", stores=LABELS)
def list_without_its_label(store):
    with store.ome("labels") as ome:
        ome["labels"].append("nuclei")


@fault("label-unlisted", stores=LABELS)
def label_that_is_not_listed(store):
    shutil.copytree(store.path / _CELLS, store.path / "labels" / "nuclei")


@fault("path-unsafe", stores=LABELS)
def label_outside_of_the_store(store):
    with store.ome("labels") as ome:
        ome["labels"].append("../../cells")


@fault("label-dtype", stores=LABELS)
def labels_that_are_floats(store):
    inner = Store(store.path / _CELLS)
    for level in range(2):
        rewrite(inner, level, inner.array(level)[:].astype("float32"))


@fault("label-levels", stores=LABELS)
def labels_with_a_level_too_few(store):
    inner = Store(store.path / _CELLS)
    with inner.entry() as entry:
        entry["datasets"].pop()
    shutil.rmtree(inner.path / "1")


@fault("content-wrong", stores=LABELS, sample=16)
def labels_that_were_averaged(store):
    inner = Store(store.path / _CELLS)
    inner.array(1)[...] = dp.downsample(inner.array(0)[:], 2, "mean")


@fault("object-missing", stores=LABELS, sample=16)
def missing_object_of_a_label(store):
    Store(store.path / _CELLS).objects(1)[0].unlink()


@fault("image-label", stores=LABELS)
def label_value_that_is_a_text(store):
    with store.ome(_CELLS) as ome:
        ome["image-label"] = {"colors": [{"label-value": "1", "rgba": [0, 0, 0, 0]}]}


@fault("image-label", stores=LABELS)
def colour_of_three_numbers(store):
    with store.ome(_CELLS) as ome:
        ome["image-label"] = {"colors": [{"label-value": 1, "rgba": [0, 0, 0]}]}


@fault("image-label", stores=LABELS)
def label_value_given_twice(store):
    with store.ome(_CELLS) as ome:
        ome["image-label"] = {"properties": [{"label-value": 1}, {"label-value": 1}]}


def cases():
    """Yield (store, fault) for all stores that a fault is put into."""
    for found in FAULTS:
        for store in found.stores:
            yield store, found


def damaged(good, target, found):
    """Copy a good store and put a fault into it."""
    shutil.copytree(good, target)
    found.make(Store(Path(target)))


def main():
    """Print how many faults are caught, and how many good stores pass."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in STORES.items():
            build(Path(folder, name))
            good = all(
                dp.verify_pyramid(Path(folder, name), sample=sample).ok
                for sample in ("structure", 16, "full")
            )
            table[name] = [0, 0, good]
        for i, (name, found) in enumerate(cases()):
            target = Path(folder, str(i), "damaged")
            target.parent.mkdir()
            damaged(Path(folder, name), target, found)
            codes = {
                f.code for f in dp.verify_pyramid(target, sample=found.sample).errors
            }
            table[name][0] += 1
            table[name][1] += bool(codes & set(found.codes))
            if not codes & set(found.codes):
                print(f"missed: {found.name} in {name}: {sorted(codes)}")
    print(f"{len(FAULTS)} faults\n\nstore        good passes  faults  caught")
    for name, (faults, caught, good) in table.items():
        print(f"{name:12} {'yes' if good else 'NO':>11} {faults:7} {caught:7}")
    return all(row[0] == row[1] and row[2] for row in table.values())


if __name__ == "__main__":
    sys.exit(not main())
