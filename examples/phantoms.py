"""Images that look like microscopy, from a seed: filaments of actin, nuclei of embryos.

Used by the notebooks and the benchmarks where no real image of the size is at hand. The
image without noise comes along, so that what a method does to noise can be measured.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

OFFSET = 100
"""Grey value of a camera in the dark."""


def filaments(
    shape: tuple[int, int, int], *, seed: int = 0, read_noise: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return a stack of planes with fibres, as a camera sees it, and without noise.

    Parameters
    ----------
    shape : (planes, rows, columns)
        Extent in voxels.
    seed : int
        Of the random numbers.
    read_noise : float
        Standard deviation of the camera's own noise, in grey values.

    Returns
    -------
    noisy : numpy.ndarray of uint16
        Photons (Poisson), read noise and offset.
    clean : numpy.ndarray of float32
        What the camera would give on average.
    """
    rng = np.random.default_rng(seed)
    y, x, z, brightness = _walks(shape, rng)
    haze = ndimage.zoom(rng.random((4, 6)) ** 2, np.divide(shape[1:], (4, 6)), order=1)
    noisy = np.empty(shape, "uint16")
    clean = np.empty(shape, "float32")
    for plane in range(shape[0]):
        focus = brightness * np.exp(-(((z - plane) / 1.5) ** 2) / 2)
        photons = _drawn(y, x, focus, shape[1:])
        light = 4 + 30 * haze + ndimage.gaussian_filter(photons, 1.6)
        clean[plane] = OFFSET + light
        counts = rng.poisson(light)
        seen = counts + rng.normal(OFFSET, read_noise, shape[1:]).astype("float32")
        noisy[plane] = np.clip(np.rint(seen), 0, 65535)
    return noisy, clean


def nuclei(
    shape: tuple[int, int, int],
    voxel: tuple[float, float, float],
    *,
    radius: float = 3.0,
    spacing: float = 5.2,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return crowded nuclei in an embryo, as a confocal microscope sees them.

    Parameters
    ----------
    shape : (z, y, x)
        Extent in voxels.
    voxel : (z, y, x)
        Size of a voxel in micrometres.
    radius : float
        Mean radius of a nucleus in micrometres; they are ellipsoids.
    spacing : float
        Least distance of two centres in micrometres.
    seed : int
        Of the random numbers.

    Returns
    -------
    noisy : numpy.ndarray of uint16
        Blurred by the microscope (0.25 micrometres, 0.8 along z), with photon noise.
    ids : numpy.ndarray of uint16
        Nucleus of each voxel, 0 outside.
    """
    rng = np.random.default_rng(seed)
    size = np.multiply(shape, voxel)
    axes = [(np.arange(n) + 0.5) * s for n, s in zip(shape, voxel, strict=True)]
    ids = np.zeros(shape, "uint16")
    nearest = np.ones(shape, "float32")
    for number, centre in enumerate(_centres(size, radius, spacing, rng), start=1):
        radii = radius * rng.uniform(0.8, 1.15, 3)
        box = tuple(
            slice(*np.searchsorted(a, (c - r, c + r)))
            for a, c, r in zip(axes, centre, radii, strict=True)
        )
        parts = [
            ((a[b] - c) / r) ** 2
            for a, b, c, r in zip(axes, box, centre, radii, strict=True)
        ]
        distance = sum(np.ix_(*parts))
        inside = distance < nearest[box]
        nearest[box][inside] = distance[inside]
        ids[box][inside] = number
    # Chromatin: brighter and darker spots, about a micrometre large.
    noise = rng.standard_normal(shape, "float32")
    spots = ndimage.gaussian_filter(noise, np.divide(0.5, voxel))
    texture = 1 + 0.25 * spots / spots.std()
    light = np.where(ids > 0, 160 * np.clip(texture, 0.2, None), np.float32(8))
    light = ndimage.gaussian_filter(light, np.divide((0.8, 0.25, 0.25), voxel))
    noisy = rng.poisson(light) + 4 * rng.standard_normal(shape, "float32") + OFFSET
    return np.clip(np.rint(noisy), 0, 65535).astype("uint16"), ids


def _walks(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points of long fibres that bend a little: y, x, z and photons of each."""
    planes, rows, columns = shape
    length = max(rows, columns) // 2
    many = max(2, rows * columns * max(planes, 6) // (12 * length * 6))
    bends = rng.normal(0, 0.02, (many, length)).cumsum(axis=1)
    angles = rng.uniform(0, 2 * np.pi, (many, 1)) + bends
    y = rng.uniform(0, rows, (many, 1)) + np.sin(angles).cumsum(axis=1)
    x = rng.uniform(0, columns, (many, 1)) + np.cos(angles).cumsum(axis=1)
    tilt = rng.normal(0, 1.5 / length, (many, 1)) * np.arange(length)
    z = rng.uniform(-1, planes, (many, 1)) + tilt
    photons = np.broadcast_to(rng.lognormal(5.3, 0.5, (many, 1)), y.shape)
    return y.ravel(), x.ravel(), z.ravel(), photons.ravel()


def _drawn(
    y: np.ndarray, x: np.ndarray, light: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Add points of light to a plane, each shared by the four pixels around it."""
    plane = np.zeros(shape[0] * shape[1])
    low_y, low_x = np.floor(y), np.floor(x)
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = (low_y + dy).astype(int), (low_x + dx).astype(int)
            share = (1 - np.abs(y - row)) * (1 - np.abs(x - column)) * light
            inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
            where = (row * shape[1] + column)[inside]
            plane += np.bincount(where, share[inside], minlength=plane.size)
    return plane.reshape(shape).astype("float32")


def _centres(
    size: np.ndarray, radius: float, spacing: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return points that keep their distance, all well inside the image."""
    found: list[np.ndarray] = []
    low, high = np.full(3, 1.1 * radius), size - 1.1 * radius
    for point in rng.uniform(low, high, (4000, 3)):
        if all(np.linalg.norm(point - other) >= spacing for other in found):
            found.append(point)
    return found
