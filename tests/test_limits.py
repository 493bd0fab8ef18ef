import pytest

from dask_pyramid.limits import RUNTIME_BYTES, default_workers, parse_memory


@pytest.mark.parametrize(
    ("limit", "n_bytes"),
    [
        (10**9, 10**9),
        ("2 GiB", 2**31),
        ("2GiB", 2**31),
        ("512 MiB", 2**29),
        ("500 MB", 500 * 10**6),
        (" 1.5 gib ", 3 * 2**29),
        ("1T", 10**12),
        ("1 Ti", 2**40),
        ("1000000000 B", 10**9),
        (2.0**31, 2**31),
    ],
)
def test_a_limit_is_bytes_or_a_number_with_a_unit(limit, n_bytes):
    assert parse_memory(limit) == n_bytes


@pytest.mark.parametrize(
    "limit", ["lots", "", "GiB", "2 GB/s", "-2 GiB", "1.2.3 GiB", "2 XiB", -5, True]
)
def test_what_is_no_amount_of_memory_is_refused(limit):
    with pytest.raises(ValueError, match="memory_limit must be"):
        parse_memory(limit)


@pytest.mark.parametrize("limit", [0, "1 MiB", RUNTIME_BYTES])
def test_less_than_the_libraries_take_is_refused_with_the_number(limit):
    with pytest.raises(
        ValueError, match=f"more than {RUNTIME_BYTES // 2**20} MiB.*got {limit!r}"
    ):
        parse_memory(limit)


def test_by_default_it_is_half_of_the_memory_of_the_machine():
    import psutil

    assert RUNTIME_BYTES < parse_memory(None) <= psutil.virtual_memory().total // 2


def test_there_is_at_least_one_worker():
    assert default_workers() >= 1
