"""A real browser draws what `view` serves, at the right place, from every level."""

import os
from pathlib import Path

import numpy as np
import pytest

from browser import Browser, chromium
from dask_pyramid import write_pyramid

pytest.importorskip("neuroglancer")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        chromium is None, reason="no chromium here: apt-get install chromium"
    ),
]

SCALE = {"z": 0.5, "y": 0.25, "x": 0.25}
START = {"z": 10.0, "y": 20.0, "x": 30.0}
# Where the blob is, in voxels of level 0.
CENTRE = {"z": 23.3, "y": 41.6, "x": 50.2}
SHAPE = (48, 80, 96)
LEVELS = (0, 1, 2)
# Pixels of the screen for the finest voxel, and half of what is looked at.
ZOOM, HALF = 8, 300
PEAK = 60000


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    """Where pictures are kept: what the environment says, else pytest's folder."""
    folder = os.environ.get("DASK_PYRAMID_SCREENSHOTS")
    found = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(params=["0.4", "0.5"])
def stored(request, tmp_path):
    """A blob, a label image of its core, and the version they are stored in."""
    grid = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    sigma = {"z": 3.0, "y": 4.0, "x": 4.0}
    distance = sum(
        ((index - CENTRE[axis]) / sigma[axis]) ** 2
        for axis, index in zip("zyx", grid, strict=True)
    )
    pyramid = write_pyramid(
        (PEAK * np.exp(-distance / 2)).astype("uint16"),
        tmp_path / "blob.ome.zarr",
        labels={"core": (distance < 4).astype("uint32")},
        version=request.param,
        scale=SCALE,
        translation=START,
        unit="micrometer",
        chunks=32,
        scale_factors=[2, 4],
    )
    return pyramid, request.param


def show(page, *, layer, level, layout):
    """Show one layer alone, from one level, with the blob in the middle."""
    middle = {axis: round(START[axis] / SCALE[axis] + CENTRE[axis]) for axis in "xyz"}
    page.run(
        f"""(async () => {{
          viewer.layout.restoreState({layout!r});
          viewer.showAxisLines.value = viewer.showScaleBar.value = false;
          viewer.showDefaultAnnotations.value = false;
          viewer.layerManager.managedLayers.forEach((managed, i) => {{
            managed.setVisible(i === {layer});
            managed.layer.sliceViewRenderScaleTarget.value = {ZOOM * 2 ** (level + 1)};
          }});
          viewer.layerManager.managedLayers[0].layer.shaderControlState
            .restoreState({{contrast: {{range: [0, {PEAK}]}}}});
          viewer.position.value = Float32Array.from({list(middle.values())});
          viewer.crossSectionScale.value = {1 / ZOOM};
          for (let frame = 0; frame < 3; ++frame)
            await new Promise(requestAnimationFrame);
        }})()"""
    )
    page.wait_for("viewer.isReady()")
    return middle


def look(page):
    """Return the picture around the middle of the panel, as PNG and as brightness."""
    centre = page.run(
        """(() => {
          const [panel] = [...viewer.display.panels].map(
            panel => panel.element.getBoundingClientRect()).filter(r => r.width);
          return [panel.left + panel.width / 2, panel.top + panel.height / 2];
        })()"""
    )
    png, pixels = page.screenshot()
    x, y = (round(value - HALF) for value in centre)
    part = pixels[y : y + 2 * HALF, x : x + 2 * HALF].sum(axis=-1).astype("float64")
    assert part.shape == (2 * HALF, 2 * HALF)
    # What lies between the middle of the panel and that of the part.
    return (
        png,
        part,
        [value - HALF - edge for value, edge in zip(centre, (x, y), strict=True)],
    )


def centroid(part, off):
    """Return the place of a bright thing against the middle, in canonical voxels."""
    index = np.arange(2 * HALF) + 0.5 - HALF
    weights = part / part.sum()
    across, down = (weights.sum(axis=0) @ index, weights.sum(axis=1) @ index)
    return (across - off[0]) / ZOOM, (down - off[1]) / ZOOM


def runs(part):
    """Return the lengths of runs of equal pixels in the brightest row."""
    row = part[part.sum(axis=1).argmax()]
    return np.diff(np.flatnonzero(np.diff(row)))


def test_a_browser_draws_every_level_of_image_and_labels_where_they_are(
    page, stored, screenshots
):
    pyramid, version = stored
    with pyramid.view(browser=False) as view:
        page.open(view.url)
        page.wait_for("window.viewer && viewer.isReady()")
        png, pixels = page.screenshot()
        (screenshots / f"neuroglancer-{version}.png").write_bytes(png)
        assert pixels[100:].max() > 200, "the page is black"
        space = page.run(
            "(({names, units, scales}) => [names, units, [...scales]])"
            "(viewer.coordinateSpace.value)"
        )
        assert space[:2] == [["x", "y", "z"], ["m", "m", "m"]]
        np.testing.assert_allclose(space[2], [0.25e-6, 0.25e-6, 0.5e-6])
        for layout in ("xy", "xz"):
            # One voxel of z is as long as two canonical ones.
            axes, ratio = tuple(layout), {"x": 1, "y": 1, "z": 2}
            for level in LEVELS:
                middle = show(page, layer=0, level=level, layout=layout)
                png, part, off = look(page)
                name = f"blob-{version}-{layout}-level-{level}.png"
                (screenshots / name).write_bytes(png)
                assert np.median(runs(part)) == pytest.approx(ZOOM * 2**level, abs=1)
                for axis, found in zip(axes, centroid(part, off), strict=True):
                    true = START[axis] / SCALE[axis] + CENTRE[axis] - middle[axis]
                    assert found / ratio[axis] == pytest.approx(true, abs=0.1), level
            show(page, layer=1, level=0, layout=layout)
            png, part, off = look(page)
            (screenshots / f"labels-{version}-{layout}.png").write_bytes(png)
            for axis, found in zip(axes, centroid(part > 0, off), strict=True):
                true = START[axis] / SCALE[axis] + CENTRE[axis] - middle[axis]
                assert found / ratio[axis] == pytest.approx(true, abs=0.3)
