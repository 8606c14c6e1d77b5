"""[quantization]: QLoRA's frozen 4-bit base."""

from __future__ import annotations

from loren.config.section import Section


class QuantizationConfig(Section):
    """[quantization] - QLoRA's frozen 4-bit base."""

    load_in_4bit: bool = False
    """Load the frozen base weights as NF4 (needs the extra `loren[quantization]`); only where you ask for it."""
    double_quant: bool = True
    """Quantise the quantisation constants too."""
