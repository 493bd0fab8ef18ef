"""Nothing that is read is written, and nothing is published that is not there."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from distributed import Client, LocalCluster
from zarr.storage import LocalStore, MemoryStore

import dask_pyramid as dp

RNG = np.random.default_rng(7)
DATA = RNG.integers(1, 999, (6, 40, 50)).astype("uint16")


def stored():
    store = MemoryStore()
    dp.write_pyramid(DATA, store, scale_factors=[2], method="mean")
    return store


def level_0(store):
    return zarr.open_array(store, path="0", mode="r")[:]


def test_a_store_object_is_not_replaced_by_what_is_read_from_it():
    store = stored()
    with pytest.raises(ValueError, match="target must not be the store of the source"):
        dp.write_pyramid(zarr.open_group(store, mode="r"), store, mode="w")
    np.testing.assert_array_equal(level_0(store), DATA)


def test_a_local_store_is_a_path_like_any_other(tmp_path):
    dp.write_pyramid(DATA, tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="target must not be the source"):
        dp.write_pyramid(tmp_path / "a.zarr", LocalStore(tmp_path / "a.zarr"), mode="w")
    inside = LocalStore(tmp_path / "a.zarr" / "b")
    with pytest.raises(ValueError, match="must lie apart"):
        dp.write_pyramid(tmp_path / "a.zarr", inside)


@pytest.mark.parametrize("composed", [lambda x: x, lambda x: x + 1, lambda x: x[::-1]])
def test_a_graph_over_the_target_is_refused(tmp_path, composed):
    pyramid = dp.write_pyramid(DATA, tmp_path / "a.zarr")
    lazy = composed(pyramid.levels[0])
    with pytest.raises(ValueError, match="target must not be the source"):
        dp.write_pyramid(lazy, tmp_path / "a.zarr", mode="w")
    from_zarr = composed(da.from_zarr(str(tmp_path / "a.zarr"), component="0"))
    with pytest.raises(ValueError, match="target must not be the source"):
        dp.write_pyramid(from_zarr, tmp_path / "a.zarr", mode="w")
    store = stored()
    with pytest.raises(ValueError, match="target must not be the store"):
        dp.write_pyramid(dp.open_pyramid(store).levels[0] + 1, store, mode="w")


def test_a_read_only_store_is_refused(tmp_path):
    with pytest.raises(ValueError, match="target must be writable"):
        dp.write_pyramid(DATA, MemoryStore(read_only=True))


def test_workers_of_another_process_cannot_write_to_this_ones_memory(tmp_path):
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        with pytest.raises(ValueError, match="in reach of the workers"):
            dp.write_pyramid(DATA, MemoryStore(), client=client)
        with pytest.raises(ValueError, match="workers must not be given"):
            dp.write_pyramid(DATA, tmp_path / "a.zarr", client=client, workers=2)


def test_a_failed_replacement_leaves_the_old_pyramid_and_can_go_on(tmp_path):
    dp.write_pyramid(DATA, tmp_path / "a.zarr", scale_factors=[2])
    broken = True

    def fail(block):
        if broken and block.size:
            raise RuntimeError("no voxels today")
        return block + 1

    changed = da.from_array(DATA).map_blocks(fail, dtype="uint16", meta=DATA[:0])
    with pytest.raises(RuntimeError, match="no voxels today"):
        dp.write_pyramid(changed, tmp_path / "a.zarr", mode="w")
    kept = dp.open_pyramid(tmp_path / "a.zarr")
    np.testing.assert_array_equal(kept.levels[0].compute(), DATA)
    broken = False
    dp.write_pyramid(changed, tmp_path / "a.zarr", mode="a")
    replaced = dp.open_pyramid(tmp_path / "a.zarr")
    np.testing.assert_array_equal(replaced.levels[0].compute(), DATA + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_blocks_that_share_work_are_computed_together(tmp_path):
    calls = []

    def count(block):
        if block.size:
            calls.append(block.shape)
        return block

    base = da.from_array(DATA, chunks=(3, 20, 25))
    counted = base.map_blocks(count, dtype="uint16", meta=DATA[:0, :0, :0])
    dp.write_pyramid(counted.rechunk((2, 7, 11)), tmp_path / "a.zarr", method="mean")
    assert len(calls) == base.npartitions
    calls.clear()
    scaled = (counted / counted.max() * 1000).astype("uint16")
    dp.write_pyramid(scaled, tmp_path / "b.zarr")
    assert len(calls) == base.npartitions


def test_a_persisted_array_is_written_without_naming_its_client(tmp_path):
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster):
        lazy = da.from_array(DATA, chunks=(3, 20, 25)).persist()
        pyramid = dp.write_pyramid(lazy, tmp_path / "a.zarr")
        np.testing.assert_array_equal(pyramid.levels[0].compute(), DATA)


def test_a_pyramid_that_was_opened_is_written_as_it_is(tmp_path):
    dp.write_pyramid(DATA, tmp_path / "a.zarr", method="max", scale_factors=[4])
    copy = dp.open_pyramid(tmp_path / "a.zarr").write(tmp_path / "b.zarr")
    assert copy.method == "max"
    assert copy.shapes == ((6, 40, 50), (2, 10, 13))


def test_a_built_pyramid_keeps_its_chunks(tmp_path):
    built = dp.build_pyramid(DATA, chunks=16, scale_factors=[2])
    built.write(tmp_path / "a.zarr")
    assert zarr.open_array(tmp_path / "a.zarr", path="1").chunks == (16, 16, 16)


def test_contrast_of_the_source_is_kept(tmp_path):
    data = DATA[None]
    dp.write_pyramid(data, tmp_path / "a.zarr", axes="czyx")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    ome = dict(group.attrs["ome"])
    ome["omero"]["channels"][0]["window"].update(start=100, end=300)
    group.attrs["ome"] = ome
    copy = dp.write_pyramid(tmp_path / "a.zarr", tmp_path / "b.zarr")
    window = copy.image.omero["channels"][0]["window"]
    assert (window["start"], window["end"]) == (100, 300)


def test_auto_factors_compare_spacings_and_not_numbers():
    image = np.zeros((64, 512, 512), "uint8")
    micro = dp.open_image(
        image, scale=(300, 0.1, 0.1), unit={"z": "nm", "y": "um", "x": "um"}
    )
    factors = [level.factors for level in dp.plan_pyramid(micro, chunks=64).levels]
    assert factors[:4] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]
    unknown = dp.open_image(image, scale=(1, 300, 300), unit={"y": "um", "x": "um"})
    assert dp.plan_pyramid(unknown, chunks=64).levels[1].factors == (2, 2, 2)


@pytest.mark.parametrize("scale", [0.5, "0.5", "z"])
def test_a_scale_that_is_not_by_axis_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be a dict by axis or"):
        dp.open_image(DATA, scale=scale)


def test_masked_arrays_and_lists_are_refused():
    with pytest.raises(TypeError, match="source must be a plain array"):
        dp.open_image(np.ma.array(DATA))
    with pytest.raises(TypeError, match="array must be a NumPy, CuPy or dask array"):
        dp.downsample([[1, 2], [3, 4]], 2)


def test_home_is_home_for_targets_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    dp.write_pyramid(DATA, "~/a.zarr")
    assert (tmp_path / "a.zarr" / "zarr.json").exists()
    assert dp.open_pyramid("~/a.zarr").shapes[0] == DATA.shape


def test_what_is_not_the_pyramid_is_never_replaced(tmp_path):
    dp.write_pyramid(DATA, tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "a.zarr", mode="r+").create_group("labels")
    with pytest.raises(FileExistsError, match="which also holds labels"):
        dp.write_pyramid(DATA, tmp_path / "a.zarr", mode="w")
    assert (tmp_path / "a.zarr" / "labels").exists()


def test_a_list_of_numbers_is_by_level(tmp_path):
    dp.write_pyramid(DATA, tmp_path / "a.zarr", chunks=[32, 16], scale_factors=[2, 4])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert [group[str(k)].chunks[0] for k in range(3)] == [32, 16, 16]


def test_an_absurd_factor_is_refused_at_once():
    with pytest.raises(ValueError, match="scale_factors must be at most 32768"):
        dp.plan_pyramid(DATA, scale_factors=[10**9])


def test_codecs_that_zarr_refuses_are_named_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="compressors must be a name or codecs"):
        dp.write_pyramid(DATA, tmp_path / "a.zarr", compressors=3)
    assert not (tmp_path / "a.zarr").exists()


def test_the_path_of_an_array_is_no_pyramid(tmp_path):
    dp.write_pyramid(DATA, tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="got the array"):
        dp.open_pyramid(tmp_path / "a.zarr" / "0")


# -- what leads out of the target, or is somebody else's -------------------------------


@pytest.mark.parametrize("place", ["", "0", ".dask-pyramid"])
def test_symbolic_links_at_the_top_are_refused(tmp_path, place):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "a.zarr"
    dp.write_pyramid(DATA, target)
    link = target / (place or "link")
    if place == "0":
        (target / "0").rename(outside / "0")
        link.symlink_to(outside / "0")
    else:
        link.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    for mode in ("a", "w"):
        with pytest.raises(ValueError, match="must hold no symbolic links"):
            dp.write_pyramid(DATA, target, mode=mode)
    assert sorted(outside.rglob("*")) == before


def test_a_chunk_folder_that_leads_out_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    tifffile.imwrite(tmp_path / "in.tif", DATA)
    dp.prepare_pyramid(tmp_path / "in.tif", tmp_path / "a.zarr", shards=False)
    (tmp_path / "a.zarr" / "0" / "c").symlink_to(outside)
    with pytest.raises(ValueError, match="must hold no symbolic links"):
        dp.run_units(tmp_path / "a.zarr")
    assert not list(outside.iterdir())


@pytest.mark.parametrize("name", [".git", "notes.txt", ".zarray", "2024-data"])
def test_foreign_files_keep_a_pyramid_from_being_replaced(tmp_path, name):
    dp.write_pyramid(DATA, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"which also holds {name}"):
        dp.write_pyramid(DATA + 1, tmp_path / "a.zarr", mode="w")
    assert (tmp_path / "a.zarr" / name).read_text() == "mine"
    np.testing.assert_array_equal(level_0(tmp_path / "a.zarr"), DATA)


def test_a_foreign_file_that_comes_while_a_pyramid_is_replaced_is_kept(tmp_path):
    target = tmp_path / "a.zarr"
    dp.write_pyramid(DATA, target)

    def come(_progress):
        (target / "notes.txt").write_text("mine")

    with pytest.raises(FileExistsError, match=r"which also holds notes\.txt"):
        dp.write_pyramid(DATA + 1, target, mode="w", progress=come)
    assert (target / "notes.txt").read_text() == "mine"
    (target / "notes.txt").unlink()
    with pytest.warns(UserWarning, match="is complete"):
        dp.write_pyramid(DATA + 1, target, mode="a")
    np.testing.assert_array_equal(level_0(target), DATA + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("purpose", ["replaced", "replacement"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_folder_that_has_the_name_of_a_replacement_is_kept(tmp_path, purpose, kind):
    dp.write_pyramid(DATA, tmp_path / "a.zarr")
    other = tmp_path / f".a.zarr.{purpose}"
    if kind == "folder":
        other.mkdir()
        (other / "thesis.tex").write_text("mine")
    elif kind == "file":
        other.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        other.symlink_to(tmp_path / "elsewhere")
    for mode in ("w-", "a", "w"):
        with pytest.raises(FileExistsError):
            dp.write_pyramid(DATA, tmp_path / "a.zarr", mode=mode)
    if kind == "folder":
        assert (other / "thesis.tex").read_text() == "mine"
    assert other.exists()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
def test_consolidated_metadata_do_not_outlive_their_pyramid(version):
    store = MemoryStore()
    dp.write_pyramid(DATA, store, scale_factors=[2, 4], version=version)
    zarr.consolidate_metadata(store)
    dp.write_pyramid(DATA + 1, store, scale_factors=[2], version=version, mode="w")
    assert len(dp.open_pyramid(store).levels) == 2
    assert "2" not in zarr.open_group(store, mode="r")
