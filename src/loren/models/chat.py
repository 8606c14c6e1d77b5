"""Messages -> `input_ids` and `labels`, for any chat template; the one place where training and generation meet.

The mask is derived by rendering prefixes and comparing tokens, so the template needs no ``{% generation %}`` block: the tokens
of ``messages[:i]`` with the generation prompt, then those up to the end of assistant turn i, must both be prefixes of the whole
row's tokens; what lies between them is the turn and its end-of-turn token, and becomes labels. Those tokens, decoded as generation
decodes them, must be the target. Where template or tokenizer make this impossible the row is refused, never approximated.
"""
# pyright: basic

from __future__ import annotations

import datetime
import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import _compile_jinja_template

from loren.data.rows import Message
from loren.errors import ChatTemplateError, ModelLoadError, Problem

IGNORED = -100
"""Label of a position that is not trained (torch's and TRL's convention)."""
PINNED_DATE = datetime.date(2024, 7, 26)
"""The date that templates such as Llama-3's insert: a row must not change from day to day."""
_ANOTHER = "change the row, or take another base model"
_NO_SYSTEM = "write the system prompt into the first user turn, or take another base model"


@dataclass(frozen=True, slots=True)
class Rendered:
    """One row as tokens; both lists have length T."""

    input_ids: list[int]
    labels: list[int]
    """The token id where it is trained, :data:`IGNORED` elsewhere."""

    @property
    def label_tokens(self) -> int:
        """How many positions are trained."""
        return sum(label != IGNORED for label in self.labels)


class ChatRenderer:
    """Renders conversations with one tokenizer's own chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        """Keep the tokenizer and learn its special tokens.

        Args:
            tokenizer: a tokenizer with a chat template.
            name: what errors call the template, usually the base model.

        Raises:
            ModelLoadError: the tokenizer has no chat template, or several and none of them is the default.
        """
        template = getattr(tokenizer, "chat_template", None)
        if not template:
            raise ModelLoadError(
                f"{name}: expected a tokenizer with a chat template, found none",
                hint="take the instruct variant of the model, which has one",
            )
        if isinstance(template, dict) and "default" not in template:
            raise ModelLoadError(
                f"{name}: expected one chat template or one named default, found {len(template)} of other names",
                hint="save the one that you mean as chat_template.jinja in the model's folder",
            )
        self._tokenizer = tokenizer
        self._name = name
        self._clock: dict[str, Any] = pin_date(tokenizer)
        added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self.special_tokens = sorted(added | set(tokenizer.all_special_tokens), key=len, reverse=True)
        self.stop_ids: set[int] = set()
        """End-of-turn tokens that became labels so far; training fails if the model would not stop at them."""
        self.highest_id = 0
        """The highest token id rendered so far; training fails if the model has no embedding for it."""

    def render(self, messages: Sequence[Message], *, place: str) -> Rendered:
        """Tokens and labels of a whole conversation.

        Args:
            messages: a valid conversation; assistant turns of weight 1 are trained.
            place: file and line, for errors.

        Raises:
            ChatTemplateError: the text holds a special token, or template or tokenizer make exact labels impossible.
        """
        self._refuse_special_text(messages, place)
        text = self._text(messages, place)
        ids = self._encode(text)
        labels = [IGNORED] * len(ids)
        for index, message in enumerate(messages):
            if message.role == "assistant" and message.weight == 1:
                start, end = self._turn_span(messages[: index + 1], text, ids, place)
                labels[start:end] = ids[start:end]
        if all(label == IGNORED for label in labels):
            raise self._error(place, "expected at least one label token, found none")
        self.highest_id = max(self.highest_id, *ids)
        return Rendered(ids, labels)

    def prompt_ids(self, messages: Sequence[Message], *, place: str) -> list[int]:
        """Tokens of a prompt, with the generation prompt; special tokens in its text are neutralised."""
        clean = [Message(message.role, self.neutralise(message.content)) for message in messages]
        return self._encode(self._text(clean, place, generation=True))

    def reply_text(self, tokens: Sequence[int]) -> str:
        """A reply's tokens, without the end-of-turn token, as text: what the template would be given to write them."""
        return self._decode(tokens).removeprefix(self._lead)

    def neutralise(self, text: str) -> str:
        """Break every special-token string in ``text`` with a space, so that a customer can't end the turn."""
        for token in self.special_tokens:
            if len(token) > 1:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def _refuse_special_text(self, messages: Sequence[Message], place: str) -> None:
        problems = [
            Problem(place, f"messages[{index}].content: expected ordinary text, found special token {token}", "special-token")
            for index, message in enumerate(messages)
            for token in self.special_tokens
            if token in message.content
        ]
        if problems:
            raise ChatTemplateError(
                f"text holds special tokens of {self._name}",
                problems=problems,
                hint="remove or rewrite the text: in training it would end or start a turn in the middle of one",
            )

    def _turn_span(self, messages: Sequence[Message], text: str, ids: list[int], place: str) -> tuple[int, int]:
        """Token positions [start, end) of the last turn's text and end-of-turn token."""
        prompt = self._text(messages[:-1], place, generation=True)
        if not text.startswith(prompt):
            raise self._changed_prompt(messages, place)
        rest = text[len(prompt) :]
        lead, reply = self._written_reply(rest, messages[-1].content, place)
        stop = self._stop_token(rest[len(lead + reply) :], place)
        closed = prompt + lead + reply + stop
        prompt_ids, closed_ids = self._encode(prompt), self._encode(closed)
        start, end = len(prompt_ids), len(closed_ids)
        if ids[:start] != prompt_ids:
            raise self._error(
                place,
                "expected the generation prompt's tokens at the start of the row's, found that they merge with the reply "
                "(a reply that begins with white space does that)",
            )
        if ids[:end] != closed_ids:
            raise self._error(place, "expected the end-of-turn token to stand alone, found that it merges with what follows")
        read = self._decode(closed_ids[start : end - 1]).removeprefix(lead)
        gap = stop[: len(stop) - len(stop.lstrip())]
        if not (_same_text(read, reply) or _same_text(read, reply + gap)):
            raise self._error(
                place,
                "expected tokens that read back as the assistant's text, found that the tokenizer loses or changes part of it "
                "(characters that it does not know, white space at an end)",
            )
        self.stop_ids.add(closed_ids[-1])
        return start, end

    def _written_reply(self, rest: str, content: str, place: str) -> tuple[str, str]:
        """(white space that the template puts before the reply, as Mistral's does; the reply as the template writes it)."""
        blank = len(rest) - len(rest.lstrip())
        for reply in (content, content.strip()):  # many templates trim; the model must learn what the template writes
            lead = blank - (len(reply) - len(reply.lstrip()))
            if lead >= 0 and rest.startswith(reply, lead):
                return rest[:lead], reply
        raise self._error(place, "expected the assistant's text as it stands, found that the template changes it")

    @functools.cached_property
    def _lead(self) -> str:
        """What the template puts before every reply; empty where it can't be asked."""
        turns = (Message("user", "a"), Message("assistant", "b"))
        try:
            prompt, text = self._rendered(turns[:1], generation=True), self._rendered(turns)
        except Exception:  # a template is foreign code: it raises what it likes
            return ""
        lead, found, _ = text.removeprefix(prompt).partition("b")
        return lead if found and text.startswith(prompt) and not lead.strip() else ""

    def _changed_prompt(self, messages: Sequence[Message], place: str) -> ChatTemplateError:
        if messages[0].role == "system":
            message = "expected the system turn in training as in generation, found that the template moves or drops it"
            return self._error(place, message, hint=_NO_SYSTEM)
        return self._error(place, "expected the generation prompt to be a prefix of the training text, found another text")

    def _stop_token(self, tail: str, place: str) -> str:
        """The text from the end of the reply to the end of the first special token."""
        found = [(tail.index(token), -len(token), token) for token in self.special_tokens if token in tail]
        if not found:
            raise self._error(place, "expected an end-of-turn token after the assistant's turn, found none")
        position, _, token = min(found)
        if tail[:position].strip():
            raise self._error(place, "expected the end-of-turn token right after the assistant's turn, found other text")
        return tail[: position + len(token)]

    def _text(self, messages: Sequence[Message], place: str, *, generation: bool = False) -> str:
        try:
            return self._rendered(messages, generation=generation)
        except Exception as error:  # a template is foreign code: jinja2 and raise_exception raise what they like
            raise self._refused(messages, place, error, generation=generation) from error

    def _refused(self, messages: Sequence[Message], place: str, error: Exception, *, generation: bool) -> ChatTemplateError:
        if messages[0].role == "system" and len(messages) > 1:
            try:
                self._rendered(messages[1:], generation=generation)
            except Exception:  # it is not the system turn
                pass
            else:
                message = f"expected a template that takes a system turn, found that it refuses one ({type(error).__name__})"
                return self._error(place, message, hint=_NO_SYSTEM)
        roles = ", ".join(message.role for message in messages)
        return self._error(place, f"expected a template that takes the turns {roles}, found {type(error).__name__}")

    def _rendered(self, messages: Sequence[Message], *, generation: bool = False) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation, **self._clock)
        return str(text)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]

    def _decode(self, tokens: Sequence[int]) -> str:
        # Some tokenizers' configurations ask for a clean-up that deletes spaces before punctuation; a reply is not ours to edit.
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _error(self, place: str, message: str, *, hint: str = _ANOTHER) -> ChatTemplateError:
        return ChatTemplateError(
            f"the chat template of {self._name} can't render a row exactly",
            problems=[Problem(place, message, "chat-template")],
            hint=hint,
        )


def _same_text(left: str, right: str) -> bool:
    """Equal as a reader sees it: a tokenizer may compose letters and their marks (NFC), as Qwen's does."""
    return left == right or unicodedata.normalize("NFC", left) == unicodedata.normalize("NFC", right)


def pin_date(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Pin the date for both ways in which a template asks for it.

    Returns:
        Variables to render with (``date_string``, Llama-3's). The other way, the function ``strftime_now``, can only be replaced
        in the compiled template, which transformers caches: this process's plain ``apply_chat_template`` then sees the pin too.
    """
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        _compile_jinja_template(template).globals["strftime_now"] = _pinned_strftime
    return {"date_string": _pinned_strftime("%d %b %Y")}


def _pinned_strftime(form: str) -> str:
    return PINNED_DATE.strftime(form)
