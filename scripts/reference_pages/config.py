"""config.md: every key of a run's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic.fields import FieldInfo

from loren.config.environment import ENVIRONMENT_KEYS
from loren.config.lora import PRESETS
from loren.config.run import RunConfig
from loren.config.section import Section
from loren.config.sweep import SweepConfig
from reference_pages.fields import key_entry, section_sentence, toml_value
from reference_pages.markdown import NOTICE

_HEAD = """\
# Configuration

One TOML file holds everything that a run depends on. Paths in it are relative to the file. Values are taken in this order, the
later one wins: default, file, environment, `--set KEY=VALUE`. All mistakes are reported at once, each with its key, what was
expected and what was given; an unknown key is a mistake. `config.json` of the run folder records every value with where it came
from.
"""

_SWEEP_HEAD = """\
Read by [`loren sweep`](cli.md#loren-sweep) alone: a file with it is also a file for `loren train`. Presets, listed variants and the
grid make one list together; ranges stand alone. A variant's keys win over the file, the environment and `--set`. It can't differ in
what all variants share: base, data, split, lengths and seeds; `data.replay` alone may differ, for general rows neither validate nor
judge.

```toml
# run.toml
base_model = "Qwen/Qwen2.5-0.5B-Instruct"

[sweep]
presets = ["a", "b"]
seeds = 3

[[sweep.variants]]
name = "b-long"
lora.preset = "b"
train.num_train_epochs = 2.0

[sweep.grid]
lora.r = [4, 8]
train.learning_rate = [1e-4, 4e-4]
```

Instead of a list, ranges, which need `pip install 'loren[sweep]'` and test rows: the validation losses choose the points, and the
best three are compared on the test rows.

```toml
# run.toml
base_model = "Qwen/Qwen2.5-0.5B-Instruct"

[data]
test_ratio = 0.1

[sweep]
trials = 20

[sweep.ranges]
lora.r = { low = 4, high = 64, log = true }
train.learning_rate = { low = 1e-5, high = 1e-3, log = true }
```
"""

_ENVIRONMENT_HEAD = """\
## Environment names

The names that notebooks use. They work beside a file and without one; without a file, paths are relative to the working directory.
A name that is set to nothing counts as not set.

| name | key |
|---|---|
"""


def config_page() -> str:
    """Every key, section by section; presets; environment names; a file with all defaults."""
    sections = _sections()
    parts = [NOTICE, _HEAD, "## Top level\n"]
    parts += [_entry(name, field) for name, field in RunConfig.model_fields.items() if name not in sections]
    for name, section in sections.items():
        parts += [f"## [{name}]\n", section_sentence(section)]
        parts += [_entry(f"{name}.{field_name}", field) for field_name, field in section.model_fields.items()]
        if name == "lora":
            parts.append(_preset_table())
    parts += ["## [sweep]\n", section_sentence(SweepConfig), _SWEEP_HEAD]
    parts += [key_entry(f"sweep.{name}", field, environment="") for name, field in SweepConfig.model_fields.items()]
    parts += [_environment_table(), _all_defaults()]
    return "\n".join(parts)


def _sections() -> dict[str, type[Section]]:
    return {
        name: field.annotation
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _entry(key: str, field: FieldInfo) -> str:
    names = {target: name for name, target in ENVIRONMENT_KEYS.items()}
    return key_entry(key, field, environment=names.get(key, ""))


def _preset_table() -> str:
    keys = list(dict.fromkeys(key for preset in PRESETS.values() for key in preset))
    lines = [f"| preset | {' | '.join(f'`{key}`' for key in keys)} |", f"|---|{'---|' * len(keys)}"]
    lines += [f"| `{name}` | {' | '.join(f'`{toml_value(preset[key])}`' for key in keys)} |" for name, preset in PRESETS.items()]
    return "### What a preset sets\n\nA key that you give beside the preset wins over it.\n\n" + "\n".join(lines) + "\n"


def _environment_table() -> str:
    lines = [f"| `{name}` | [`{key}`](#{key.replace('.', '')}) |" for name, key in ENVIRONMENT_KEYS.items()]
    return _ENVIRONMENT_HEAD + "\n".join(lines) + "\n"


def _all_defaults() -> str:
    sections = _sections()
    lines = ["# run.toml: every key with its default; keys that are not set by default are left out"]
    lines += _assignments({name: field for name, field in RunConfig.model_fields.items() if name not in sections})
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_assignments(section.model_fields)]
    return "## All defaults in one file\n\n```toml\n" + "\n".join(lines) + "\n```\n"


def _assignments(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        if field.default is not None:
            yield f"{name} = {toml_value(field.default)}"
