"""What image, plan and pyramid print."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import dask.array as da
import numpy as np
import pytest

import dask_pyramid as dp
from dask_pyramid.drawing import levels_svg
from dask_pyramid.plan_report import plan_html, plan_text
from dask_pyramid.report import html_page, image_html, pyramid_html, pyramid_text
from dask_pyramid.tables import bytes_text, vectors

EVIL = "<script>alert('&')</script>"


def make_image(name="cells"):
    return dp.open_image(
        np.zeros((60, 300, 300), "uint16"),
        scale=(0.29, 0.26, 0.26),
        unit="um",
        name=name,
    )


def make_plan(image=None, **options):
    options = {"workers": 2, "memory_limit": "1 GiB", **options}
    return dp.plan_pyramid(image or make_image(), **options)


class Tags(HTMLParser):
    """Count open tags; fail on one that is closed in the wrong order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_html(text):
    tags = Tags(text)
    assert not tags.open
    assert "script" not in tags.seen
    assert "svg" in tags.seen
    assert "currentColor" in text
    return tags


def test_a_plan_prints_every_level_with_its_place_and_layout():
    plan = make_plan()
    lines = plan_text(plan).splitlines()
    assert lines[0] == "Plan of 4 levels, uint16 (z, y, x), OME-Zarr 0.5"
    assert "scale [micrometer]" in lines[2]
    rows = [line.split() for line in lines[3:7]]
    for level, row in zip(plan.levels, rows, strict=True):
        text = "".join(row[1:])
        scale = ",".join(f"{s:.6g}" for s in level.scale)
        translation = ",".join(f"{t:.6g}" for t in level.translation)
        assert row[0] == level.path
        assert text == (
            "x".join(map(str, level.shape))
            + "x".join(map(str, level.factors))
            + scale
            + translation
        )
    assert "64 x 64 x 64" in plan_text(plan)
    assert "64 x 320 x 320" in plan_text(plan)


def test_a_plan_prints_what_it_costs():
    plan = make_plan()
    text = plan_text(plan)
    for part in (
        f"{plan.n_tasks} to write",
        f"{sum(plan.graph_tasks)} in the lazy graph",
        f"{plan.decode_amplification:.2f} times each chunk",
        f"{bytes_text(plan.bytes_read)} read",
        f"{bytes_text(plan.bytes_written)} written to {plan.n_objects} objects",
        f"{bytes_text(plan.task_memory)} for a task",
        f"{bytes_text(plan.peak_memory)} in all",
        "with 2 workers; limit 1.0 GiB",
        "z 0.5, y 0.5, x 0.5 (voxels",
        "gaussian: ",
    ):
        assert part in text


def test_a_method_without_gaussian_prints_no_sigma():
    assert "sigma" not in plan_text(make_plan(method="mean"))


def test_sigmas_that_differ_are_printed_by_level():
    text = plan_text(make_plan(scale_factors=[2, 6], sigma={"z": 1.5}))
    assert (
        "level 1: z 1.5, y 0.5, x 0.5; level 2: z 1.5, y 0.75, x 0.75 (voxels" in text
    )


def test_passes_over_stored_levels_name_the_level_that_they_read():
    blocks = da.zeros((512, 512, 512), chunks=128, dtype="uint16")
    plan = make_plan(dp.open_image(blocks))
    assert len(plan.passes) > 1
    assert f"level {plan.passes[1].levels[0].level}" in plan_text(plan)


def test_five_axes_fit_into_a_hundred_columns_and_tell_the_time_step():
    image = dp.open_image(
        da.zeros((20, 3, 800, 4096, 4096), chunks=(1, 1, 64, 512, 512), dtype="uint16"),
        scale=(2.5, 1, 0.29, 0.26, 0.26),
        translation={"t": 10, "z": 100},
        unit={"t": "s", "z": "um", "y": "um", "x": "um"},
    )
    text = plan_text(make_plan(image, method="mean"))
    assert max(map(len, text.splitlines())) <= 100
    assert "other axes  t: 2.5 second from 10" in text
    assert "t: 2.5 second from 10" in image_html(image)


def test_str_and_html_of_the_objects_are_those_of_the_report():
    image, plan = make_image(), make_plan()
    pyramid = dp.build_pyramid(image)
    assert image._repr_html_() == image_html(image)
    assert str(plan) == plan_text(plan)
    assert plan._repr_html_() == plan_html(plan)
    assert str(pyramid) == pyramid_text(pyramid)
    assert pyramid._repr_html_() == pyramid_html(pyramid)


def test_a_pyramid_prints_one_line_for_each_level():
    pyramid = dp.build_pyramid(make_image(), scale_factors=[2])
    assert pyramid_text(pyramid).splitlines() == [
        "cells: 2 levels, uint16 (z, y, x), method gaussian, not stored",
        "level  shape           scale [micrometer]  translation [micrometer]",
        "    0  60 x 300 x 300  0.29, 0.26, 0.26        0,    0,    0",
        "    1  30 x 150 x 150  0.58, 0.52, 0.52    0.145, 0.13, 0.13",
    ]


def test_html_escapes_names_and_closes_its_tags():
    image = make_image(EVIL)
    for text in (image_html(image), pyramid_html(dp.build_pyramid(image))):
        check_html(text)
        assert EVIL not in text
        assert "&lt;script&gt;" in text
    tags = check_html(plan_html(make_plan(image)))
    assert tags.seen.count("table") == 4


def test_html_sets_no_opaque_colour():
    text = plan_html(make_plan()) + image_html(make_image())
    assert not re.search(r"[:\"]#", text)
    assert not re.search(r"[:\"](white|black)\b(?!-)", text)


def test_all_that_a_notebook_shows_has_one_look(tmp_path):
    pyramid = dp.write_pyramid(make_image(), tmp_path / "a", scale_factors=[2])
    found = dp.verify_pyramid(tmp_path / "a", sample="structure", progress=False)
    for shown in (make_image(), make_plan(), pyramid, found):
        text = shown._repr_html_()
        check_html(text)
        head = text.partition("</div>")[0]
        assert head.startswith('<div style="color:inherit;background:transparent')
        assert "font-weight:600" in head
        for theme in ("--jp-border-color2,", "--jp-brand-color1,"):
            assert theme in text, "a theme of Jupyter, or a colour for none"
        assert "0.29, 0.26, 0.26" in text
    assert "11.6 MiB of memory for all levels; 10.3 MiB for a block" in (
        pyramid._repr_html_()
    )
    assert "0.58, 0.52, 0.52 micrometer" in found._repr_html_()


def test_a_lazy_pyramid_tells_the_memory_to_write_it():
    pyramid = dp.build_pyramid(make_image(), scale_factors=[2])
    peak = bytes_text(pyramid.plan.peak_memory)
    assert f"levels; {peak} to write it, with" in pyramid._repr_html_()


def test_a_page_follows_what_the_reader_prefers():
    text = html_page(make_plan())
    assert "color-scheme:light dark" in text
    assert "@media(prefers-color-scheme:dark)" in text


def test_levels_with_faults_stand_out(tmp_path):
    dp.write_pyramid(make_image(), tmp_path / "a", scale_factors=[2])
    (tmp_path / "a" / "0" / "c" / "0" / "0" / "0").write_bytes(b"nothing")
    found = dp.verify_pyramid(tmp_path / "a", sample=1, progress=False)
    assert "--jp-error-color1" in found._repr_html_().partition("</svg>")[0]
    assert "--jp-error-color1" not in levels_svg([(8, 8)])


def test_an_image_tells_where_it_is_read_from(tmp_path):
    assert "memory" in image_html(make_image())
    lazy = dp.open_image(da.zeros((30, 40), chunks=10))
    assert "dask graph of 12 tasks" in image_html(lazy)
    stored = dp.write_pyramid(np.zeros((30, 40), "uint8"), tmp_path / "a&b.zarr")
    assert "a&amp;b.zarr" in image_html(stored.image)
    assert "a&b.zarr" in pyramid_text(stored)


@pytest.mark.parametrize(
    "shapes",
    [
        [(60, 256, 256), (30, 128, 128)],
        [(300, 200)],
        [(10_000_000, 3), (5_000_000, 2), (1, 1)],
        [(1, 1, 1)],
    ],
)
def test_a_drawing_is_xml_with_one_group_for_each_level(shapes):
    root = ET.fromstring(levels_svg(shapes, [(64,) * len(shapes[0])] * len(shapes)))
    assert len(root.findall("g")) == len(shapes)
    assert float(root.get("width")) < 2000
    assert len(levels_svg(shapes, [(1,) * len(shapes[0])] * len(shapes))) < 10_000


def test_a_drawing_is_to_scale():
    root = ET.fromstring(levels_svg([(60, 256, 128), (30, 128, 64)]))
    sizes = [
        (float(rect.get("height")), float(rect.get("width")))
        for rect in root.iter("rect")
    ]
    assert sizes == [(120, 60), (60, 30)]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2**30 * 99, "99.0 GiB"),
        (2**40 * 546, "546 TiB"),
        (2**75, "32768 EiB"),
    ],
)
def test_bytes_are_in_binary_units(n_bytes, text):
    assert bytes_text(n_bytes) == text


def test_vectors_of_nothing_are_dashes():
    assert vectors([None, None]) == ("-", "-")
