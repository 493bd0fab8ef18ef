"""What sdist and wheel hold: all that is needed, nothing else, and the same code."""

import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"


def check_wheel(held: dict[str, bytes]) -> None:
    """Hold the files of a wheel against those of the package."""
    package = {
        path.relative_to(SOURCES).as_posix(): path.read_bytes()
        for path in SOURCES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = {name for name in held if ".dist-info/" in name}
    assert {name: held[name] for name in held.keys() - about} == package
    assert "dask_pyramid/py.typed" in package
    assert any(name.endswith(".cu") for name in package)
    endings = {name.split(".dist-info/")[1] for name in about}
    assert {"METADATA", "RECORD", "entry_points.txt", "licenses/LICENSE"} <= endings


def check_sdist(names: set[str]) -> None:
    """Hold the files of an sdist against what shall be in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for name in wanted:
        assert any(n == name or n.startswith(f"{name}/") for n in names), name
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {*wanted, "PKG-INFO", "pyproject.toml", ".gitignore"}, tops
    assert not any(".zarr" in name or "__pycache__" in name for name in names)


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def main() -> None:
    """Look at the one sdist and the one wheel of a folder."""
    folder = Path(sys.argv[1])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    held = contents(wheel)
    check_wheel(held)
    with tarfile.open(sdist) as tar:
        files = [member.name for member in tar.getmembers() if member.isfile()]
    names = {name.partition("/")[2] for name in files}
    check_sdist(names)
    # The wheel was built from the sdist; one of the tree is the same.
    with tempfile.TemporaryDirectory() as other:
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", other, ROOT]
        subprocess.run(command, check=True, capture_output=True)
        assert contents(Path(other) / wheel.name) == held
    print(f"{wheel.name}: {len(held)} files; {sdist.name}: {len(names)} files")


if __name__ == "__main__":
    main()
