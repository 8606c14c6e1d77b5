"""A `loren` for tests that type many commands: one process imports torch and TRL once, and forks for every command.

As `python warm_loren.py SOCKET` it serves. `CLIENT` is the program on the path: it hands over its arguments, folder,
environment and open files, passes on signals, and leaves with the command's exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

HEAVY = ("trl", "bitsandbytes", "transformers.models.llama.modeling_llama", "loren.train.recipe", "loren.evaluate.golden")
"""What commands import, with all that these import in turn."""
REQUEST_BYTES = 1 << 20

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
BASE = {base!r}
arguments = [BASE if word.startswith(("embedded:", "Qwen/")) else word for word in sys.argv[1:]]
# The allocator is set when a process begins; a fork would begin anew to set it.
environment = {{**os.environ, "MODEL_ID": BASE, "MAX_LENGTH": "2048", "GLIBC_TUNABLES": ""}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps({{"arguments": arguments, "folder": os.getcwd(), "environment": environment}}).encode()
    socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(request)
    answers = server.makefile()
    pid = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = int(answers.readline())
# Random weights may fail a gate, and nothing else may fail.
sys.exit(0 if code == {gate} and arguments[:1] in (["sanity"], ["evaluate"], ["merge"], ["run"]) else code)
"""


@contextmanager
def warm_loren(folder: Path, base: Path, gate: int) -> Generator[Path]:
    """Serve; yields a folder for the path with `loren`, which takes ``base`` for every base model, and its `python`."""
    folder.mkdir(parents=True)
    address = folder / "socket"
    programs = {
        "loren": CLIENT.format(python=sys.executable, base=str(base), address=str(address), gate=gate),
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    with subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield folder
        finally:
            server.terminate()


def serve(address: str) -> None:
    """Fork for each connection, for ever; returns in a child that is to run a command."""
    # First, for the environment switches that it sets before torch is imported.
    importlib.import_module("loren.__main__")
    for name in HEAVY:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    supervise(connection)


def supervise(connection: socket.socket) -> None:
    """Tell the client the command's process and its exit code; returns in that process."""
    with connection:
        header, files, _, _ = socket.recv_fds(connection, 4, 3)
        size = int.from_bytes(header, "big")
        assert size < REQUEST_BYTES
        request = json.loads(connection.recv(size, socket.MSG_WAITALL))
        if pid := os.fork():
            connection.sendall(f"{pid}\n".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            connection.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
            os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["loren", *request["arguments"]]


if __name__ == "__main__":
    serve(sys.argv[1])
    importlib.import_module("loren.__main__").main()
