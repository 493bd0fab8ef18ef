"""What a stored pyramid must keep to: a code, a severity and a source for each rule.

A finding names one of these codes. "OME-Zarr" is the specification at
https://ngff.openmicroscopy.org, with the section in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Rule", "Severity"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, and how bad it is to break it."""

    severity: Severity
    """Error: wrong or unreadable; warning: usable; note: worth knowing."""
    source: str
    """The rule in a few words, and where it stands."""


def _rules(severity: Severity, sources: dict[str, str]) -> dict[str, Rule]:
    return {
        code: Rule(severity=severity, source=source) for code, source in sources.items()
    }


_ERRORS = {
    # What makes a group an image.
    "json-invalid": "metadata must be JSON objects (Zarr v2, v3; RFC 8259)",
    "node-missing": "'path' is the path to the array (OME-Zarr, multiscales)",
    "node-kind": "levels are arrays, images are groups (OME-Zarr, layout)",
    "multiscales-missing": "'multiscales' describes an image (OME-Zarr, multiscales)",
    "multiscales-invalid": "'multiscales' is a list of objects (OME-Zarr, multiscales)",
    "unfinished": "a pyramid is published when it is complete (dask-pyramid)",
    "version-wrong": "'version' MUST be a string specifying the version (OME-Zarr)",
    "zarr-format": "0.4 is Zarr v2, 0.5 and 0.6 are Zarr v3 (OME-Zarr, layout)",
    "consolidated-stale": "consolidated metadata repeat those of the nodes (Zarr)",
    "record-wrong": "the record says what was written (dask-pyramid)",
    # Axes.
    "axes-invalid": "'axes' MUST be a list of 2 to 5 named axes (OME-Zarr, axes)",
    "axes-name": "'name' MUST be unique across all entries (OME-Zarr, axes)",
    "axes-type": "2 or 3 space, at most one time and one channel (OME-Zarr, axes)",
    "axes-order": "time MUST come first, then channel, then space (OME-Zarr, axes)",
    "axes-unit": "units are full UDUNITS-2 words; viewers refuse others (OME-Zarr)",
    "systems-invalid": "levels map to one coordinate system (OME-Zarr 0.6)",
    # Datasets.
    "datasets-invalid": "'datasets' MUST be a list of objects (OME-Zarr, multiscales)",
    "path-unsafe": "'path' is relative to the group and stays in it (OME-Zarr)",
    "path-repeated": "each dataset is a level of its own (OME-Zarr, multiscales)",
    "link-outside": "nothing outside of the store belongs to it (dask-pyramid)",
    "datasets-order": "paths MUST be ordered from largest to smallest (OME-Zarr)",
    "transformations-invalid": "exactly one scale, then at most one translation "
    "(OME-Zarr, multiscales)",
    "transformation-numbers": "as many finite numbers as axes, scale above 0 "
    "(OME-Zarr, coordinateTransformations)",
    "transformation-ends": "input is the path, output a coordinate system "
    "(OME-Zarr 0.6)",
    # Arrays.
    "array-invalid": "an array must be one that Zarr can open (Zarr v2, v3)",
    "array-ndim": "arrays have as many dimensions as 'axes' (OME-Zarr, multiscales)",
    "array-dtype": "all levels have one data type (OME-Zarr 0.6, MUST)",
    "array-kind": "pixels are bool, integers or floats (OME-Zarr, layout)",
    "array-empty": "an axis has at least one voxel (OME-Zarr, layout)",
    "array-separator": "the dimension separator MUST be '/' (OME-Zarr 0.4, layout)",
    "dimension-names": "dimension_names MUST match the axes (OME-Zarr 0.5, images)",
    "stale-level": "a level that no dataset names is left over (dask-pyramid)",
    # Geometry.
    "level-larger": "levels are downsampled from the one before (OME-Zarr)",
    "level-not-reduced": "each level is smaller than the one before (OME-Zarr)",
    "axis-reduced": "only space is downsampled; time and channel are not viewed so "
    "(viewers)",
    "scale-shape": "scale times shape is the extent, equal at all levels (OME-Zarr, "
    "scale)",
    "scale-wrong": "scale is that of level 0 times the true factor (OME-Zarr, scale)",
    "translation-wrong": "translation is the centre of voxel 0 (OME-Zarr 0.6)",
    # Objects and content.
    "object-missing": "an object that is missing reads as fill value (Zarr)",
    "object-undecodable": "every object decodes (Zarr, codecs)",
    "object-changed": "objects are those that were written (dask-pyramid)",
    "content-wrong": "a level is the level below, reduced by its method (OME-Zarr, "
    "'type')",
    "content-method": "'type' names the method of downscaling (OME-Zarr, multiscales)",
    "plate-list": "a plate lists its wells, a well its images (OME-Zarr, plate, well)",
    # Labels and rendering.
    "labels-list": "'labels' lists the paths of all label images (OME-Zarr, labels)",
    "label-missing": "all that 'labels' lists is there (OME-Zarr, labels)",
    "label-unlisted": "all label images are listed in 'labels' (OME-Zarr, labels)",
    "label-dtype": "pixels of label images MUST be integers (OME-Zarr, labels)",
    "label-levels": "as many levels as the image, MUST (OME-Zarr, labels)",
    "image-label": "colors and properties have unique integer label-values "
    "(OME-Zarr, image-label)",
    "omero-invalid": "'omero' is an object with a list 'channels' (OME-Zarr, omero)",
    "omero-channels": "one entry for each channel (OME-Zarr, omero)",
    "omero-color": "color is 6 hexadecimal digits (OME-Zarr, omero)",
    "omero-window": "window MUST have min, max, start and end (OME-Zarr, omero)",
}

_WARNINGS = {
    "json-doubtful": "names of an object should be unique, numbers finite (RFC 8259)",
    "version-missing": "'version' SHOULD be there (OME-Zarr 0.4, multiscales)",
    "version-misplaced": "the version stands once, in 'ome' (OME-Zarr 0.5)",
    "name-missing": "'name' SHOULD be there (OME-Zarr, multiscales)",
    "type-missing": "'type' SHOULD be there (OME-Zarr, multiscales)",
    "metadata-missing": "'metadata' SHOULD be there (OME-Zarr, multiscales)",
    "axes-doubtful": "axes are t, c, z, y, x with their types (viewers)",
    "units-differ": "axes of space SHOULD have known units (OME-Zarr, axes)",
    "scale-doubtful": "scale is a whole factor or the ratio of extents (dask-pyramid)",
    "translation-doubtful": "a sample sits first in its window or at its centre "
    "(dask-pyramid)",
    "dimension-names-missing": "viewers read dimension_names in 0.6, too (viewers)",
    "object-absent": "an object that is missing cannot be told from an empty one",
    "object-stray": "objects beyond the shape are left over from another array",
    "staging-left": "a finished pyramid holds no work of its writer (dask-pyramid)",
    "content-implausible": "a level looks like the level below (dask-pyramid)",
    "content-truncated": "a mean is rounded; cutting loses half a grey level each time",
    "content-offset": "translation says where content was sampled (dask-pyramid)",
    "label-extent": "a label image covers its image (OME-Zarr, labels)",
    "image-label-missing": "label images SHOULD have 'image-label' (OME-Zarr, labels)",
    "omero-doubtful": "active is a boolean, label a text (OME-Zarr, omero)",
}

_NOTES = {
    "more-multiscales": "the first multiscales is what readers open (OME-Zarr)",
    "version-old": "versions before 0.4 have no scale for each level (OME-Zarr)",
    "units-missing": "axes of space SHOULD have a unit (OME-Zarr, axes)",
    "viewer-dtype": "Neuroglancer refuses bool, int64, float16 and float64",
    "viewer-chunks": "Neuroglancer takes chunk sides up to 2048",
    "not-listable": "presence is known where a store can be listed",
    "unknown-node": "a group may hold arrays of other tools",
    "content-cause": "what explains content that is wrong",
    "content-explained": "the method that explains the content",
    "content-unchecked": "a method that is not known cannot be recomputed",
    "content-mask": "a mask is not stored; what was made across its border needs it",
    "label-places": "viewers show an image and its labels at the same level "
    "(dask-pyramid)",
    "omero-alone": "channels are described where there is no channel axis",
}

RULES: dict[str, Rule] = {
    **_rules("error", _ERRORS),
    **_rules("warning", _WARNINGS),
    **_rules("note", _NOTES),
}
"""All rules by code."""
