"""What a model says about itself: its card, its config, its tokenizer's and template's behaviour. Light; no weights are read.

A fact that nothing states is "unknown", never guessed. The chat template is rendered in jinja2's sandbox, as transformers does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from loren.models.gguf_file import GgufHeader
from loren.models.identity import chat_template, read_model_json
from loren.runs.files import Json

UNKNOWN = "unknown"
_MAX_CARD_BYTES = 1024 * 1024
_MAX_USE = 600
_FRONT = re.compile(r"\A\ufeff?---\r?\n(.*?)\r?\n---\s*(?:\r?\n|\Z)", re.DOTALL)
_USE_HEADING = re.compile(
    r"^#{1,6}\s*[^\n]*\b(intended|direct)\b[^\n]*\buses?\b[^\n]*$|^#{1,6}\s*uses?\s*$", re.IGNORECASE | re.MULTILINE
)
_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """How a tokenizer and its chat template behave; "unknown" where nothing says."""

    kind: str = UNKNOWN
    """The algorithm: BPE, Unigram, WordPiece."""
    vocabulary: int | None = None
    """Number of tokens, added ones included."""
    bos: str = UNKNOWN
    eos: str = UNKNOWN
    pad: str = UNKNOWN
    normalizer: str = UNKNOWN
    """What is done to text first: "NFC", "none"…"""
    adds_bos: str = UNKNOWN
    """Whether encoding puts a start token before the text: yes or no."""
    chat_template: str = UNKNOWN
    """yes or no."""
    system_turn: str = UNKNOWN
    """What the template does with a system turn: accepted, ignored or refused."""
    default_system_turn: str = UNKNOWN
    """Whether the template writes one of its own where the conversation has none: yes or no."""
    generation_block: str = UNKNOWN
    """Whether it marks the assistant's text with ``{% generation %}``: yes or no."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a user should know before building on a model."""

    id: str
    kind: str
    license: str
    languages: tuple[str, ...]
    """Language codes; empty where the card names none."""
    languages_note: str
    intended_use: str
    architecture: str
    context_length: int | None
    """Tokens; None where the config does not say."""
    trust_remote_code: str
    """Whether the model needs code of its own: yes or no."""
    origin: str
    """What the weights were made from; empty where they are the publisher's own."""
    tokenizer: TokenizerFacts


@dataclass(frozen=True, slots=True)
class Card:
    """The parts of a model card that machines can read, and its paragraph on intended use."""

    license: str = UNKNOWN
    languages: tuple[str, ...] = ()
    base_model: str = ""
    intended_use: str = UNKNOWN
    tags: tuple[str, ...] = ()


def front_matter(readme: Path) -> Card:
    """Read a model card; everything is "unknown" where there is no card or it can't be read."""
    try:
        with readme.open("rb") as file:
            text = file.read(_MAX_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return Card()
    found = _FRONT.match(text)
    fields = _yaml_fields(found.group(1)) if found else {}
    license_id = fields.get("license")
    if license_id == "other" and isinstance(fields.get("license_name"), str):
        license_id = fields["license_name"]
    languages, base_model = _texts(fields.get("language")), _texts(fields.get("base_model"))
    return Card(
        license=license_id if isinstance(license_id, str) and license_id else UNKNOWN,
        languages=languages,
        base_model=", ".join(base_model),
        tags=_texts(fields.get("tags")),
        intended_use=_intended_use(text[found.end() :] if found else text),
    )


def folder_facts(folder: Path, *, id: str, kind: str) -> ModelFacts:
    """Facts of a Hugging Face folder.

    Raises:
        ModelLoadError: its config or tokenizer files can't be read.
    """
    card = front_matter(folder / "README.md")
    config = read_model_json(folder / "config.json")
    inner = config.get("text_config")
    places = [config, inner] if isinstance(inner, dict) else [config]
    lengths = [place[key] for place in places for key in _CONTEXT_KEYS if isinstance(place.get(key), int)]
    names = _texts(config.get("architectures"))
    needs_code = "auto_map" in config or any(folder.glob("*.py"))
    return ModelFacts(
        id=id,
        kind=kind,
        license=card.license,
        languages=card.languages,
        languages_note="",
        intended_use=card.intended_use,
        architecture=names[0] if names else UNKNOWN,
        context_length=cast("int", lengths[0]) if lengths else None,
        trust_remote_code="yes" if needs_code else "no",
        origin=card.base_model,
        tokenizer=tokenizer_facts(folder),
    )


def gguf_facts(header: GgufHeader, *, id: str) -> ModelFacts:
    """Facts of a GGUF file; what only the converted tokenizer shows is "unknown" here."""
    architecture = header.text("general.architecture", UNKNOWN)
    tokens = header.array("tokenizer.ggml.tokens")

    def token(name: str) -> str:
        number = header.integer(f"tokenizer.ggml.{name}_token_id")
        return "none" if number is None else str(tokens[number]) if 0 <= number < len(tokens) else UNKNOWN

    template = header.text("tokenizer.chat_template")
    return ModelFacts(
        id=id,
        kind="gguf",
        license=header.text("general.license", UNKNOWN),
        languages=tuple(str(language) for language in header.array("general.languages")),
        languages_note="",
        intended_use=UNKNOWN,
        architecture=architecture,
        context_length=header.integer(f"{architecture}.context_length"),
        trust_remote_code="no",
        origin=f"{header.text('general.name', UNKNOWN)}, {header.quantization}",
        tokenizer=TokenizerFacts(
            kind=header.text("tokenizer.ggml.model", UNKNOWN),
            vocabulary=len(tokens) or None,
            bos=token("bos"),
            eos=token("eos"),
            pad=token("padding"),
            adds_bos=_yes_no(header.flag("tokenizer.ggml.add_bos_token")),
            **_template_facts(template, {"bos_token": token("bos"), "eos_token": token("eos")}),
        ),
    )


def tokenizer_facts(folder: Path) -> TokenizerFacts:
    """How the tokenizer and template of a Hugging Face folder behave.

    Raises:
        ModelLoadError: a file can't be read.
    """
    config = _optional_json(folder / "tokenizer_config.json")
    special = {**_optional_json(folder / "special_tokens_map.json"), **config}
    body = _optional_json(folder / "tokenizer.json")
    tokens = {role: _token(special.get(f"{role}_token")) for role in ("bos", "eos", "pad")}
    known = {f"{role}_token": text for role, text in tokens.items() if text != "none"}
    adds_bos = _adds_bos(body) if body else _yes_no(config.get("add_bos_token"))
    return TokenizerFacts(
        kind=_type_name(body.get("model")),
        vocabulary=_vocabulary(body) if body else None,
        **tokens,
        normalizer=_normalizer(body.get("normalizer")) if body else UNKNOWN,
        adds_bos=adds_bos,
        **_template_facts(chat_template(folder), known),
    )


def _template_facts(template: str, tokens: dict[str, str]) -> dict[str, str]:
    if not template:
        return {"chat_template": "no"}
    facts = {"chat_template": "yes", "generation_block": "yes" if _GENERATION_TAG.search(template) else "no"}
    user = {"role": "user", "content": "User text."}
    plain = _render(template, [user], tokens)
    with_system = _render(template, [{"role": "system", "content": "System text."}, user], tokens)
    if with_system is None:
        return {**facts, "system_turn": UNKNOWN if plain is None else "refused"}
    if "System text." not in with_system:
        return {**facts, "system_turn": "ignored"}
    facts["system_turn"] = "accepted"
    if plain is not None:
        # The same opening without a system turn, and then something else than the user's text: the template's own.
        opening = with_system[: with_system.index("System text.")]
        own = bool(opening) and plain.startswith(opening) and not plain[len(opening) :].lstrip().startswith("User text.")
        facts["default_system_turn"] = "yes" if own else "no"
    return facts


def _render(template: str, messages: Sequence[dict[str, str]], tokens: dict[str, str]) -> str | None:
    """The rendered text, or None where the template refuses."""

    def refuse(message: str) -> str:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    try:
        compiled = environment.from_string(_GENERATION_TAG.sub("", template))
        return compiled.render(messages=messages, add_generation_prompt=True, raise_exception=refuse, strftime_now=str, **tokens)
    except Exception:  # a template is foreign code: it raises what it likes
        return None


def _adds_bos(body: dict[str, Json]) -> str:
    """Whether a TemplateProcessing step puts a special token before the text."""
    step = body.get("post_processor")
    steps = [step] if isinstance(step, dict) else []
    if steps and isinstance(steps[0].get("processors"), list):
        steps = [entry for entry in cast("list[Json]", steps[0]["processors"]) if isinstance(entry, dict)]
    for entry in steps:
        single = entry.get("single")
        if entry.get("type") == "TemplateProcessing" and isinstance(single, list) and single:
            return "yes" if isinstance(single[0], dict) and "SpecialToken" in single[0] else "no"
    return "no"


def _vocabulary(body: dict[str, Json]) -> int | None:
    model = body.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    added = body.get("added_tokens")
    extra = {str(entry.get("content")) for entry in added if isinstance(entry, dict)} if isinstance(added, list) else set[str]()
    if isinstance(vocabulary, dict):
        return len(extra.union(vocabulary))
    if isinstance(vocabulary, list):  # Unigram: [token, score] pairs
        return len(extra.union(str(pair[0]) for pair in vocabulary if isinstance(pair, list) and pair))
    return None


def _normalizer(value: Json) -> str:
    if not isinstance(value, dict):
        return "none"
    inner = value.get("normalizers")
    if isinstance(inner, list):
        return " + ".join(_type_name(entry) for entry in inner) or "none"
    return _type_name(value)


def _type_name(value: Json) -> str:
    name = value.get("type") if isinstance(value, dict) else None
    return name if isinstance(name, str) else UNKNOWN


def _yes_no(value: Json) -> str:
    return "yes" if value is True else "no" if value is False else UNKNOWN


def _token(value: Json) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else "none"


def _optional_json(path: Path) -> dict[str, Json]:
    return read_model_json(path) if path.is_file() else {}


def _yaml_fields(text: str) -> dict[str, object]:
    try:
        value: object = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(entry for entry in cast("list[object]", value) if isinstance(entry, str)) if isinstance(value, list) else ()


def _intended_use(body: str) -> str:
    """The first paragraph below a heading such as "Intended uses", in one line."""
    heading = _USE_HEADING.search(body)
    if heading is None:
        return UNKNOWN
    section = re.split(r"^#{1,6}\s", body[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    section = re.sub(r"<!--.*?-->", "", section, flags=re.DOTALL)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", section) if part.strip()]
    return paragraphs[0][:_MAX_USE] if paragraphs and paragraphs[0] != "[More Information Needed]" else UNKNOWN
