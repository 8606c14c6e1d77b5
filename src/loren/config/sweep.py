"""[sweep]: which variants of a configuration `loren sweep` compares, and the configuration of each of their runs.

A variant is a name and the keys in which it differs. What all of them share (base, data, split, lengths) is checked, rendered and
loaded once; a variant that differs there is refused. All mistakes of all variants are said at once.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError

from loren.config.environment import ENVIRONMENT_KEYS
from loren.config.load import SWEEP, ResolvedConfig, flatten, known_keys, load_config, read_toml, unknown_key
from loren.config.lora import PRESETS
from loren.config.section import Section
from loren.errors import ConfigError, LorenError, Problem

MAX_VARIANTS = 200
Kind = Literal["variants", "search", "curve"]
Changes = Mapping[str, object]
_VARIED = ("lora", "quantization", "train")
"""Sections in which variants may differ."""
_VARIED_TOO = ("data.replay",)
"""Keys besides: general rows are added to what all variants share, and none of them validates or judges."""
_NO_TABLE: Mapping[str, Any] = {}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_Preset = Literal["a", "b", "c"]


class SweepConfig(Section):
    """[sweep] - the variants that `loren sweep` compares; without any, the presets a, b and c."""

    presets: Annotated[tuple[_Preset, ...], Field(strict=False)] = ()
    """Presets of [lora] to compare; keys that a preset sets win over those of the file."""
    variants: list[dict[str, Any]] = Field(default=[])
    """A `name` each, and the keys of [lora], [quantization] and [train], or `data.replay`, in which the variant differs."""
    grid: dict[str, Any] = Field(default={})
    """Key -> list of values; every combination is a variant."""
    ranges: dict[str, Any] = Field(default={})
    """Key -> `low`, `high` and, for orders of magnitude, `log`; searched for the lowest validation loss. They stand alone."""
    trials: int = Field(default=20, ge=1, le=1000)
    """How many points of the ranges are tried; those that fall behind are broken off."""
    seeds: int = Field(default=1, ge=1, le=20)
    """Trainings of each variant, with `seed`, `seed + 1`, ...; three or more say whether a difference is luck."""
    output_dir: Path | None = Field(default=None, strict=False)
    """The sweep's folder; without it, that of the run with `-sweep` behind its name."""


class Range(Section):
    """What a search may choose a key's value from; whole numbers where both ends are."""

    low: float | int
    high: float | int
    log: bool = False
    """Spread evenly over orders of magnitude, as a learning rate should be."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A name and what it changes."""

    name: str
    changes: Changes
    """Dotted key -> value."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is compared; ``run`` gives the configuration of each training."""

    kind: Kind
    variants: tuple[Variant, ...]
    """Empty for a search, which makes its own."""
    base: ResolvedConfig
    folder: Path
    seeds: tuple[int, ...]
    environment: Mapping[str, str]
    overrides: tuple[str, ...]
    ranges: Mapping[str, Range] = field(default_factory=dict[str, Range])
    trials: int = 0

    def run(self, variant: Variant, seed: int) -> ResolvedConfig:
        """The whole configuration of a variant's run; the split is that of the first seed.

        Raises:
            ConfigError: the variant's keys or values are wrong.
        """
        own: dict[str, object] = {
            "seed": seed,
            "data.split_seed": self.base.config.split_seed,
            "output_dir": str(self.folder / "runs" / f"{variant.name}-s{seed}"),
        }
        return load_config(
            self.base.source, environment=self.environment, overrides=self.overrides, changes={**variant.changes, **own}
        )


def load_sweep(
    path: Path,
    *,
    environment: Mapping[str, str],
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    curve: Sequence[int] = (),
) -> SweepPlan:
    """Read a configuration file and its [sweep].

    Args:
        path: a TOML file.
        environment: usually ``os.environ``.
        overrides: ``section.key=value`` strings; a variant's own keys win over them.
        seeds: trainings of each variant; None for what the file says.
        curve: shares of the training groups in per cent, for a learning curve instead of the file's variants.

    Raises:
        ConfigError: everything that is wrong with the configuration and with each variant.
    """
    problems: list[Problem] = []
    table = read_toml(path).get(SWEEP, {})
    section = _section(table, problems)
    try:
        base = load_config(path, environment=environment, overrides=overrides)
    except ConfigError as error:
        found = [*error.problems, *problems]
        raise ConfigError(f"configuration: {len(found)} problem(s) in {path}", problems=found, hint=error.hint) from error
    ranges = {} if curve else _ranges(section, problems)
    kind: Kind = "curve" if curve else "search" if section.ranges else "variants"
    variants = _curve(curve, problems) if curve else _variants(section, problems)
    folder = base.config.output_dir.with_name(f"{base.config.output_dir.name}-{'curve' if curve else 'sweep'}")
    if section.output_dir and not curve:
        folder = path.parent.resolve() / section.output_dir
    count = seeds or section.seeds
    plan = SweepPlan(
        kind=kind,
        variants=tuple(variants),
        base=base,
        folder=folder,
        seeds=tuple(base.config.seed + number for number in range(count)),
        environment={name: environment[name] for name in ENVIRONMENT_KEYS if name in environment},
        overrides=tuple(overrides),
        ranges=ranges,
        trials=section.trials,
    )
    samples = [*variants, *(Variant(f"ranges.{end}", _ends(ranges, end)) for end in ("low", "high") if ranges)]
    for variant in samples:
        problems.extend(_mistakes(plan, variant))
    if base.config.task is None:
        problems.append(Problem("task", "expected a task folder: variants are compared by what they answer; found none"))
    if kind == "search" and base.config.data.test_ratio == 0:
        problems.append(Problem("data.test_ratio", "expected test rows, for a search chooses by the validation rows; got 0"))
    if problems:
        raise ConfigError(
            f"sweep: {len(problems)} problem(s) in {path}", problems=problems, hint="docs/reference/config.md, [sweep]"
        )
    return plan


def _section(table: object, problems: list[Problem]) -> SweepConfig:
    """The section without its wrong keys, so that what is wrong with the rest is said too."""
    try:
        return SweepConfig.model_validate(table)
    except ValidationError as error:
        known, wrong = sorted(SweepConfig.model_fields), set[str]()
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])
            is_unknown = item["type"] == "extra_forbidden"
            given = json.dumps(item["input"], default=str)[:80]
            message = unknown_key(key, known) if is_unknown else f"{item['msg']}; got {given}"
            problems.append(Problem(f"{SWEEP}.{key}".rstrip("."), message))
            wrong.update(str(part) for part in item["loc"][:1])
    rest = cast("Mapping[str, Any]", table) if isinstance(table, Mapping) else _NO_TABLE
    return SweepConfig.model_validate({key: value for key, value in rest.items() if key not in wrong})


def _variants(section: SweepConfig, problems: list[Problem]) -> list[Variant]:
    """Presets, listed variants and the grid, in this order; the three presets where nothing is said."""
    if section.ranges:
        if section.presets or section.variants or section.grid:
            problems.append(Problem("sweep.ranges", "expected ranges alone, found presets, variants or a grid beside them"))
        return []
    found = [_preset(name) for name in dict.fromkeys(section.presets)]
    for place, table in enumerate(section.variants):
        name = table.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            problems.append(
                Problem(f"sweep.variants.{place}.name", f"expected a name like 'r8-long', got {json.dumps(name, default=str)}")
            )
            continue
        found.append(Variant(name, _with_preset(dict(flatten({key: value for key, value in table.items() if key != "name"})))))
    found += _grid(section.grid, problems)
    found = found or [_preset(name) for name in PRESETS]
    seen: set[str] = set()
    for variant in found:
        if variant.name.lower() in seen:
            problems.append(Problem(f"sweep: {variant.name}", "expected different names of variants, found this one twice"))
        seen.add(variant.name.lower())
    if len(found) == 1:
        problems.append(Problem("sweep", f"expected two variants or more, found {found[0].name!r} alone"))
    return found


def _preset(name: str) -> Variant:
    return Variant(name, _with_preset({"lora.preset": name}))


def _with_preset(changes: dict[str, object]) -> dict[str, object]:
    """A variant's preset brings its keys along, so that those of the file do not make all variants alike."""
    preset = changes.get("lora.preset")
    fields = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
    return {**{f"lora.{key}": value for key, value in fields.items()}, **changes}


def _grid(grid: dict[str, Any], problems: list[Problem]) -> list[Variant]:
    axes = dict(flatten(grid))
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            problems.append(Problem(f"sweep.grid.{key}", f"expected a list of values, got {json.dumps(values, default=str)[:80]}"))
            return []
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_VARIANTS:
        problems.append(Problem("sweep.grid", f"expected at most {MAX_VARIANTS} combinations, found {count}"))
        return []
    found: list[Variant] = []
    for places in itertools.product(*(range(len(values)) for values in axes.values())) if axes else ():
        chosen = {key: values[place] for (key, values), place in zip(axes.items(), places, strict=True)}
        name = "-".join(_grid_name(key, chosen[key], place) for key, place in zip(axes, places, strict=True))
        found.append(Variant(name[:64], _with_preset(chosen)))
    return found


def _grid_name(key: str, value: object, place: int) -> str:
    """``r8``; where the value is no word, its place in the list: ``target_modules2``."""
    short = key.rpartition(".")[2]
    return f"{short}{value}" if _NAME.match(str(value)) else f"{short}{place + 1}"


def _ranges(section: SweepConfig, problems: list[Problem]) -> dict[str, Range]:
    found: dict[str, Range] = {}
    for key, value in _range_tables(section.ranges):
        place = f"sweep.ranges.{key}"
        try:
            limits = Range.model_validate(value)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                name = str(item["loc"][0]) if item["loc"] else ""
                message = unknown_key(name, list(Range.model_fields)) if item["type"] == "extra_forbidden" else item["msg"]
                problems.append(Problem(f"{place}.{name}".rstrip("."), message))
            continue
        if not limits.low < limits.high or (limits.log and limits.low <= 0):
            above = " above 0" if limits.log else ""
            problems.append(Problem(place, f"expected low below high{above}, got {limits.low} and {limits.high}"))
        found[key] = limits
    return found


def _range_tables(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        inner: Mapping[str, Any] = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else _NO_TABLE
        if inner and all(isinstance(part, Mapping) for part in inner.values()):
            yield from _range_tables(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _ends(ranges: Mapping[str, Range], end: Literal["low", "high"]) -> dict[str, object]:
    return {key: limits.low if end == "low" else limits.high for key, limits in ranges.items()}


def _curve(percents: Sequence[int], problems: list[Problem]) -> list[Variant]:
    wanted = sorted(set(percents))
    if len(wanted) < 2 or not all(1 <= percent <= 100 for percent in wanted):
        problems.append(
            Problem("--curve", f"expected two shares or more from 1 to 100 per cent, got {','.join(map(str, percents))}")
        )
        return []
    return [Variant(f"p{percent}", {"data.train_share": percent / 100}) for percent in wanted]


def _mistakes(plan: SweepPlan, variant: Variant) -> Iterator[Problem]:
    """What is wrong with one variant: keys that all variants share, and whatever its configuration breaks."""
    known = known_keys()
    wrong = False
    for key in variant.changes if plan.kind != "curve" else ():
        if key not in known or (key.partition(".")[0] not in _VARIED and key not in _VARIED_TOO):
            wrong = True
            varied = f"[lora], [quantization] or [train], or {', '.join(_VARIED_TOO)}"
            shared = f"expected a key of {varied}: all variants share base, data, split, lengths and seeds"
            yield Problem(f"{variant.name}: {key}", shared if key in known else unknown_key(key, known))
    if wrong:
        return
    try:
        plan.run(variant, plan.seeds[0])
    except LorenError as error:
        yield from (Problem(f"{variant.name}: {problem.place}", problem.message) for problem in error.problems)
