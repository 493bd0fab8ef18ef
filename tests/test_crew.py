import numpy as np
import pytest

from dask_pyramid import crew, plan_pyramid
from dask_pyramid.crew import Member, of_members, of_processes, of_threads
from dask_pyramid.limits import RUNTIME_BYTES

GIB = 2**30


def test_threads_share_one_process():
    share = of_threads(4, "4 GiB").shares[0]
    assert (share.workers, share.processes, share.per_process) == (4, 1, 4)
    assert share.task_memory == (4 * GIB - RUNTIME_BYTES) // 4


def test_every_process_pays_for_its_libraries():
    share = of_processes(4, "4 GiB").shares[0]
    assert (share.workers, share.processes, share.per_process) == (4, 4, 1)
    assert share.task_memory == GIB - RUNTIME_BYTES


def test_no_more_processes_than_the_libraries_fit_into():
    assert [share.workers for share in of_processes(8, "512 MiB").shares] == [2, 1]


def test_a_worker_is_used_by_half_unless_said_otherwise():
    members = [Member(threads=2, memory=8 * GIB)] * 3
    default = of_members(members, None)
    assert default.memory_limit == 12 * GIB
    assert default.shares[0].task_memory == (4 * GIB - RUNTIME_BYTES) // 2
    asked = of_members(members, "6 GiB")
    assert asked.shares[0].task_memory == (2 * GIB - RUNTIME_BYTES) // 2
    assert [share.workers for share in asked.shares] == [6, 3]


def test_more_than_a_worker_has_is_never_planned():
    crowd = of_members([Member(threads=1, memory=2 * GIB)] * 2, "100 GiB")
    assert crowd.shares[0].task_memory < 2 * GIB


def test_the_worker_with_least_memory_for_a_unit_sets_its_size():
    small, large = Member(threads=1, memory=2 * GIB), Member(threads=8, memory=64 * GIB)
    shares = of_members([small, large], None).shares
    assert {share.task_memory for share in shares} == {GIB - RUNTIME_BYTES}
    assert [share.workers for share in shares] == [9, 8, 7, 6, 5, 4, 3, 2]


def test_workers_without_a_limit_share_half_of_the_machine(monkeypatch):
    monkeypatch.setattr(crew, "parse_memory", lambda limit: 8 * GIB)
    found = of_members([Member(threads=1, memory=0)] * 2, None)
    assert found.memory_limit == 8 * GIB


def test_a_worker_without_memory_for_the_libraries_is_refused():
    with pytest.raises(ValueError, match="memory_limit must give each worker more"):
        of_members([Member(threads=1, memory=8 * GIB)] * 40, "4 GiB")


def test_a_plan_counts_the_libraries_of_every_process():
    image = np.zeros((64, 256, 256), "uint16")
    members = [Member(threads=2, memory=4 * GIB)] * 3
    plan = plan_pyramid(image, crew=of_members(members, None))
    assert (plan.workers, plan.processes, plan.per_process) == (6, 3, 2)
    assert plan.peak_memory == 3 * RUNTIME_BYTES + 6 * plan.task_memory
    assert plan.peak_memory <= plan.memory_limit == 6 * GIB


def test_the_limit_told_to_workers_of_unequal_size_is_enough_for_the_smallest():
    image = np.zeros((512,) * 3, "uint8")
    layout = {"chunks": 512, "shards": False, "scale_factors": [2]}
    members = [Member(threads=1, memory=0), Member(threads=3, memory=0)]
    with pytest.raises(ValueError, match=r"at least .* on 2 workers") as error:
        plan_pyramid(image, crew=of_members(members, "1 GiB"), **layout)
    least = str(error.value).partition("at least ")[2].partition(" for")[0]
    plan_pyramid(image, crew=of_members(members, least), **layout)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_workers_are_a_whole_number(workers):
    with pytest.raises(ValueError, match="workers must be a whole number"):
        of_threads(workers, None)
