"""Run a server for as long as somebody holds a named pipe open for writing.

    python keep.py PIPE COMMAND [ARGUMENT ...]

The pipe counts the users of the server, in whichever process they are and however they
end: when the last one is gone, the server and all its processes are stopped.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress


def main():
    pipe, *command = sys.argv[1:]
    if os.fork():
        return  # who started this does not wait for its end
    os.setsid()
    server = subprocess.Popen(command, start_new_session=True)
    try:
        users = os.open(pipe, os.O_RDONLY)  # waits for the first of them
        while server.poll() is None:
            readable, _, _ = select.select([users], [], [], 1.0)
            if readable and not os.read(users, 4096):
                break
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


if __name__ == "__main__":
    main()
