"""The entry module of `loren` and of `python -m loren`.

Environment switches that must be in place before torch, transformers or the hub client are imported are set here, and only
where the user has not set them.
"""

import os
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


def main() -> None:
    """Run the command line and leave with its exit code."""
    from loren.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
