"""The environment names that people know from notebooks, and the keys they set."""

from __future__ import annotations

ENVIRONMENT_KEYS: dict[str, str] = {
    "MODEL_ID": "base_model",
    "TASK": "task",
    "DATA_PATH": "data.path",
    "OUT_DIR": "output_dir",
    "SEED": "seed",
    "USE_QLORA": "quantization.load_in_4bit",
    "MAX_LENGTH": "data.max_length",
    "EVAL_RATIO": "data.eval_ratio",
    "EPOCHS": "train.num_train_epochs",
    "LR": "train.learning_rate",
    "BATCH_SIZE": "train.per_device_train_batch_size",
    "GRAD_ACCUM": "train.gradient_accumulation_steps",
    "LORA_R": "lora.r",
    "LORA_ALPHA": "lora.lora_alpha",
    "LORA_DROPOUT": "lora.lora_dropout",
}
"""Environment name -> dotted key. A name that is set but empty counts as not set."""
