"""What lies in a folder, to see that nothing was changed there."""

import hashlib
from pathlib import Path


def digest(folder):
    """Return names, kinds, times and contents of all below a folder, as one text."""
    total = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        total.update(f"{path}:{status.st_mode}:{status.st_mtime_ns}\n".encode())
        if path.is_symlink():
            total.update(str(path.readlink()).encode())
        elif path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()
