"""Every knob of a run: frozen sections, one file each, and where each value came from.

The first line of a section's docstring and the docstring under each field become docs/reference/config.md.
"""

from loren.config.load import ResolvedConfig, flatten, load_config
from loren.config.run import RunConfig

__all__ = ["ResolvedConfig", "RunConfig", "flatten", "load_config"]
