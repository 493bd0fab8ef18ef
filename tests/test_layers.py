"""Which module may import which, and which may name a third party, at any depth."""

import ast
import sys
from pathlib import Path

import pytest

import dask_pyramid

ROOT = Path(dask_pyramid.__file__).parent

# A module imports only modules that stand before it.
ORDER = """
    configuration stopping checksums axes lengths multiscales omero limits drawing
    tables device
    locations clouds store_options credentials store_errors clients object_store
    nested_store zip_store stores
    geometry factors options filters nodata sampling methods
    layout schedule passes superblocks
    crew offers rolling tiles holdings budgets
    kernels.generic kernels.launching kernels.fused_filters kernels.fused
    kernels.masked kernels.compiled_windows kernels.compiled kernels.compiled_masked
    kernels.interpolation kernels.compiled_interpolation kernels kernels.scratch
    cost strategy levels windows offload image metadata
    amended provenance graph
    sources.opened sources.arrays sources.resampled sources.blocks
    sources.zarr_arrays sources.graphs sources.ome_zarr
    sources.formats sources.files sources.tiff_metadata sources.tiff sources.pictures
    sources.planes
    sources.hdf5_volumes sources.imaris sources.bigdataviewer sources.hdf5 sources.n5
    sources.gzipped sources.nifti sources.mrc sources.bioio sources.xarrays sources
    sources.stored masks
    existing sources.identity compression plan_json plan forecasting planning labelled
    continuation growth journal grey idents receipts jobs attributes
    store.objects store.writers store.locks store.contents store.replacement
    store.apart store.targets store.inplace store.ledger
    store.publication store.labels store.packing store.plates store.remains store
    coverage chains units
    runner.transient runner.order runner.tally runner.tasks runner.blocks runner.local
    runner.processes runner.plugin runner.cluster runner.window runner.team runner
    progress wording plan_report report plate_info info rendering canvas pictures figure
    serving scene layers viewing
    verify.rules verify.text verify.findings verify.nodes verify.tree verify.described
    verify.axes verify.datasets verify.image verify.presence verify.boxes
    verify.recipes verify.doubt verify.content verify.engine verify.geometry
    verify.arrays verify.omero verify.labels verify.wells verify.leftovers
    verify.objects
    verify.plausible verify.making verify.part verify.diagnosis verify.pixels verify
    spacing resampling downsampling charts comparison probes contenders comparing
    room sameness execution session accounts intents growing datatrees pyramid regions
    orders labelling packages series plates write shares extend appending clusters
    cli.verbosity cli.parameters cli.commands cli.completing cli.opening cli.translating
    cli.telling
    cli.running cli.comparing cli.growing cli.labelling cli.resampling
    cli.viewing cli.drawing cli.plates cli cli.__main__
""".split()

# Imports against the order, inside a function, each with its reason.
UPWARDS = {
    ("image", "sources.arrays"): "Image.data is the dask array of its reader",
    ("image", "report"): "what a value looks like in a notebook",
    ("pyramid", "write"): "a value's own verb",
    ("plan", "plan_report"): "what a value looks like in a notebook",
}

# Who uses the package as a whole: for its version, or its public names.
VERSIONED = (
    "accounts",
    "attributes",
    "cli",
    "cli.comparing",
    "cli.growing",
    "cli.drawing",
    "cli.opening",
    "cli.plates",
    "cli.resampling",
    "cli.labelling",
    "cli.viewing",
    "intents",
    "jobs",
    "pyramid",
    "runner.plugin",
)

# Third parties: where they may be named at all. NumPy may be everywhere but in the
# modules of plain integers.
ALLOWED = {
    "cupy": {"device"},
    "bioio": {"sources.bioio"},
    "bioio_base": {"sources.bioio"},
    "click": {
        "cli",
        "cli.commands",
        "cli.comparing",
        "cli.completing",
        "cli.growing",
        "cli.drawing",
        "cli.plates",
        "cli.resampling",
        "cli.labelling",
        "cli.parameters",
        "cli.running",
        "cli.telling",
        "cli.verbosity",
        "cli.viewing",
    },
    "cloudpickle": {"runner.tasks"},
    "dask": {
        "configuration",
        "graph",
        "pictures",
        "runner.cluster",
        "runner.team",
        "sources.arrays",
        "sources.blocks",
    },
    "dask_cuda": {"clusters"},
    "dask_image": {"sources.pictures"},
    "dask_jobqueue": {"clusters"},
    "distributed": {
        "clusters",
        "runner.cluster",
        "runner.plugin",
        "runner.team",
        "verify.engine",
    },
    "h5py": {"sources.hdf5", "sources.hdf5_volumes"},
    "hdf5plugin": {"sources.hdf5_volumes"},
    "indexed_gzip": {"sources.gzipped"},
    "isal": {"checksums"},
    "matplotlib": {"canvas", "figure"},
    "mrcfile": {"sources.mrc"},
    "nibabel": {"sources.nifti"},
    "napari": {"viewing"},
    "numba": {
        "kernels.compiled",
        "kernels.compiled_interpolation",
        "kernels.compiled_masked",
        "kernels.compiled_windows",
    },
    "numcodecs": {"compression"},
    "obstore": {
        "clients",
        "object_store",
        "runner.transient",
        "sources.ome_zarr",
        "sources.zarr_arrays",
        "store_errors",
        "stores",
    },
    "PIL": {"sources.pictures"},
    "pims": {"sources.pictures"},
    "psutil": {"limits", "store.locks"},
    "tensorstore": {"sources.n5"},
    "tifffile": {"sources.tiff"},
    "IPython": {"progress"},
    "tqdm": {"progress"},
    "xarray": {"datatrees"},
    "yaml": {"configuration"},
    "zarr": {
        "compression",
        "existing",
        "info",
        "nested_store",
        "object_store",
        "plate_info",
        "serving",
        "sources.graphs",
        "sources.ome_zarr",
        "sources.stored",
        "sources.tiff",
        "sources.zarr_arrays",
        "store.contents",
        "store.inplace",
        "store.labels",
        "store.objects",
        "store.plates",
        "store.publication",
        "store.targets",
        "stores",
        "verify.tree",
        "zip_store",
    },
    "zarrs": {"sources.zarr_arrays"},
}
WITHOUT_NUMPY = {
    "axes",
    "budgets",
    "configuration",
    "cost",
    "crew",
    "drawing",
    "factors",
    "geometry",
    "holdings",
    "layers",
    "layout",
    "lengths",
    "levels",
    "limits",
    "clients",
    "clouds",
    "credentials",
    "locations",
    "object_store",
    "store_errors",
    "store_options",
    "stores",
    "metadata",
    "multiscales",
    "offers",
    "offload",
    "options",
    "passes",
    "plate_info",
    "scene",
    "schedule",
    "serving",
    "strategy",
    "superblocks",
    "tables",
    "tiles",
    "verify.axes",
    "verify.datasets",
    "verify.engine",
    "verify.findings",
    "verify.geometry",
    "verify.image",
    "verify.labels",
    "verify.leftovers",
    "verify.nodes",
    "verify.omero",
    "verify.part",
    "verify.rules",
    "verify.text",
    "verify.tree",
    "verify.wells",
    "viewing",
    "windows",
}
# Loaded only when they are needed: these modules are loaded by name by nobody else.
AT_THE_TOP = {
    ("checksums", "isal"),
    ("kernels.compiled", "numba"),
    ("kernels.compiled_interpolation", "numba"),
    ("kernels.compiled_masked", "numba"),
    ("kernels.compiled_windows", "numba"),
    ("cli", "click"),
    ("cli.commands", "click"),
    ("cli.comparing", "click"),
    ("cli.completing", "click"),
    ("cli.growing", "click"),
    ("cli.drawing", "click"),
    ("cli.plates", "click"),
    ("cli.resampling", "click"),
    ("cli.labelling", "click"),
    ("cli.parameters", "click"),
    ("cli.running", "click"),
    ("cli.telling", "click"),
    ("cli.verbosity", "click"),
    ("cli.viewing", "click"),
    ("runner.plugin", "distributed"),
    ("clients", "obstore"),
    ("object_store", "obstore"),
    ("store_errors", "obstore"),
    ("nested_store", "zarr"),
    ("object_store", "zarr"),
    ("zip_store", "zarr"),
}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix("__init__").removesuffix(".")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(modules())


def imports(tree):
    """Yield (imported name, whether in a function); types are not imports."""

    def walk(node, inside):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, inside
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                own = full.removeprefix("dask_pyramid.")
                yield (full if own in MODULES else node.module), inside
        here = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, here)

    yield from walk(tree, False)


def test_every_module_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted(name for name in MODULES if name)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_before_it(name):
    for imported, inside in imports(MODULES[name]):
        if imported.split(".")[0] != "dask_pyramid":
            continue
        own = imported.removeprefix("dask_pyramid").lstrip(".")
        if not own:
            assert name in VERSIONED, "they say which version wrote"
        elif ORDER.index(own) >= ORDER.index(name):
            assert (name, own) in UPWARDS, f"{name} imports {own}"
            assert inside, f"{name} imports {own} upwards, at its top"


@pytest.mark.parametrize("name", ["", *ORDER])
def test_a_module_names_only_the_third_parties_it_may(name):
    for imported, inside in imports(MODULES[name]):
        top = imported.split(".")[0]
        if top in sys.stdlib_module_names or top == "dask_pyramid":
            continue
        if top == "numpy":
            assert name not in WITHOUT_NUMPY, f"{name} needs no NumPy"
            continue
        assert name in ALLOWED.get(top, ()), f"{name} imports {imported}"
        assert inside or (name, top) in AT_THE_TOP, f"{name} imports {top} at its top"


def test_only_device_knows_cupy():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value == "cupy":
                assert name == "device"
        named = {imported.split(".")[0] for imported, _ in imports(tree)}
        assert name == "device" or not named & {"cupy", "cupyx"}


def test_no_exception_to_the_order_is_left_over():
    found = {
        (name, imported.removeprefix("dask_pyramid."))
        for name, tree in MODULES.items()
        for imported, _ in imports(tree)
    }
    assert set(UPWARDS) <= found
    named = {
        (name, imported.split(".")[0])
        for name, tree in MODULES.items()
        for imported, _ in imports(tree)
    }
    assert {(m, top) for top, ms in ALLOWED.items() for m in ms} <= named


def test_there_are_no_drawers_for_everything():
    for name in MODULES:
        last = name.rpartition(".")[2]
        assert last not in ("utils", "helpers", "common", "base", "manager")
