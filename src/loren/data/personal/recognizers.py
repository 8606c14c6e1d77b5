"""Recognisers of others behind our own findings: Microsoft's Presidio, and GLiNER's models for names and addresses.

They are extras: nothing here is imported until one is asked for, and neither is let on to the network. A recogniser adds to the
rules and replaces none. What its findings are called here stands in ``personal.toml``; what is not named there is not taken.
"""
# pyright: basic

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from loren.data.personal.finding import Finding
from loren.data.personal.tables import personal_table
from loren.errors import ConfigError, PrerequisiteError

_MIN_SCORE = 0.5
"""Findings that their recogniser holds for less likely are not taken: Presidio gives 0.4 and less to bare runs of digits."""
_PIECE = re.compile(r"\S.{0,800}(?!\S)|\S+", re.DOTALL)
"""GLiNER cuts a text after some 384 words without a word; pieces of this many characters have fewer."""


class Recognizer(Protocol):
    """Finds personal data in a text."""

    name: str
    """For messages."""

    def find(self, text: str) -> Iterator[Finding]:
        """Yield what was found, in any order; places are those of the text as it was given."""
        ...


class PresidioRecognizer:
    """Presidio's patterns and check digits for English texts.

    Its ``no_op`` engine needs no language model and knows no names; pass an analyzer of your own that has one. Its recognisers of
    addresses, links and mail are left out: they fetch a list of domains at first use, and mail is found without them.
    """

    name = "presidio"

    def __init__(self, analyzer: Any = None) -> None:
        """Make the recogniser.

        Args:
            analyzer: a ``presidio_analyzer.AnalyzerEngine`` to use instead of one with the ``no_op`` engine.

        Raises:
            PrerequisiteError: Presidio is not installed.
        """
        self._analyzer = analyzer if analyzer is not None else _analyzer()
        self._rules: dict[str, str] = personal_table()["recognizers"]["presidio"]["entities"]

    def find(self, text: str) -> Iterator[Finding]:
        """Yield what Presidio finds and ``personal.toml`` names."""
        wanted = [entity for entity in self._rules if entity in self._analyzer.get_supported_entities("en")]
        for result in self._analyzer.analyze(text, "en", entities=wanted, score_threshold=_MIN_SCORE):
            yield Finding(self._rules[result.entity_type], result.start, result.end)


def _analyzer() -> Any:
    try:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # pyright: ignore[reportMissingImports]
        from presidio_analyzer.nlp_engine import NlpEngineProvider  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise PrerequisiteError(
            "expected Presidio for --recognizer presidio, found no package presidio-analyzer",
            hint="pip install 'loren[presidio]'",
        ) from error
    settings = {"nlp_engine_name": "no_op", "models": [{"lang_code": "en", "model_name": "no_op"}]}
    engine = NlpEngineProvider(nlp_configuration=settings).create_engine()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    for online in ("EmailRecognizer", "UrlRecognizer"):
        registry.remove_recognizer(online)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


class GlinerRecognizer:
    """A GLiNER model: names and addresses in any language that the model was trained on."""

    name = "gliner"

    def __init__(self, folder: Path | None = None, model: Any = None) -> None:
        """Load the model.

        Args:
            folder: a folder that holds a GLiNER model; nothing is fetched.
            model: a model that is loaded already, instead.

        Raises:
            ConfigError: the folder holds no GLiNER model.
            PrerequisiteError: GLiNER is not installed, or refuses the installed transformers.
        """
        self._model = model if model is not None else _gliner(folder)
        self._rules: dict[str, str] = personal_table()["recognizers"]["gliner"]["entities"]

    def find(self, text: str) -> Iterator[Finding]:
        """Yield what the model finds, piece by piece: a long text is never cut."""
        for piece in _PIECE.finditer(text):
            for entity in self._model.predict_entities(piece[0], list(self._rules), threshold=_MIN_SCORE):
                yield Finding(self._rules[entity["label"]], piece.start() + entity["start"], piece.start() + entity["end"])


def _gliner(folder: Path | None) -> Any:
    if folder is None or not (folder / "gliner_config.json").is_file():
        found = "none" if folder is None else "no gliner_config.json"
        raise ConfigError(
            f"--recognizer gliner: expected a folder with a GLiNER model, found {found}",
            hint="fetch a model (such as urchade/gliner_multi_pii-v1) and give its folder: --recognizer gliner:FOLDER",
        )
    try:
        from gliner import GLiNER  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise PrerequisiteError(
            "expected GLiNER for --recognizer gliner, found no package gliner that can be imported",
            hint="pip install --no-deps gliner (its own requirements ask for an older transformers, which it does not need)",
        ) from error
    return GLiNER.from_pretrained(str(folder), local_files_only=True)


def make_recognizer(name: str) -> Recognizer:
    """The recogniser that a user asked for: ``presidio``, or ``gliner:FOLDER``.

    Raises:
        ConfigError: there is none of that name, or the folder holds no model.
        PrerequisiteError: its package is not installed.
    """
    kind, _, place = name.partition(":")
    if kind == "presidio" and not place:
        return PresidioRecognizer()
    if kind == "gliner":
        return GlinerRecognizer(Path(place) if place else None)
    raise ConfigError("--recognizer: expected presidio or gliner:FOLDER, found another name", hint="use one of the two")
