"""The entry module of `loren` and of `python -m loren`.

Environment switches that must be in place before torch, transformers or the hub client are imported are set here, and only
where the user has not set them.
"""

import os
import platform
import sys

# On a machine that other work shares, OpenMP's spinning workers halve the speed of small matrix products.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# No telemetry leaves; neither from Loren, which has none, nor from what it calls.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["WANDB_ERROR_REPORTING"] = "false"
# One progress display: ours.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


_ALLOCATOR = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=67108864"
"""Freed memory stays with the process, in huge pages: a training step frees and takes the same gigabytes again, and would have the
kernel map and clear them each time."""


def _start_with_allocator() -> None:
    """Start a training once more with glibc's allocator set up, which glibc reads only when a process begins."""
    if sys.argv[1:2] in (["train"], ["sweep"]) and platform.libc_ver()[0] == "glibc" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = _ALLOCATOR
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> None:
    """Run the command line and leave with its exit code."""
    _start_with_allocator()
    from loren.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
