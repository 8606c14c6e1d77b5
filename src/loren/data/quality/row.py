"""One row by who says what, and the rules that depend on it. Pure.

``judge`` is the whole of it: the breaches of a row, and the few bytes that rules over the file need of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple, cast

from xxhash import xxh3_64_intdigest

from loren.data.conversation import Conversation, Turn
from loren.data.fold import is_plain
from loren.data.pointer import child
from loren.data.quality import endings, facts, language, loops, markup
from loren.data.quality.tables import BEFORE_WORDS, gate, phrases, quality_table, spaced_gate, word_in
from loren.data.rules import Breach
from loren.data.target import Target
from loren.data.together import Together
from loren.task.replies import (
    MAX_REPLY_CHARACTERS,
    count_kinds,
    invented,
    length_faults,
    names_next_step,
    statement_faults,
    voice_faults,
)

if TYPE_CHECKING:
    from loren.task.definition import Task

MAX_MESSAGES = 60
"""A conversation of more messages is rarely one."""
LONGEST = 20_000
"""Characters of a text in which phrases are looked for."""
_MIN_ECHO_WORDS = 4
_MIN_SAME_WORDS = 4
_MIN_END = 20
_WORDLESS = re.compile(r"[\s!-/:-@\[-`{-~\u2010-\u2027\u2030-\u205e\xb7\u3002\uff01\uff1f]*\Z")


class Traits(NamedTuple):
    """What rules over the file need of a row: a few numbers, none of its text."""

    characters: int = 0
    """Of all its texts."""
    reply: int = 0
    """Digest of the last reply; 0 where it is too short to be compared."""
    question: int = 0
    """Digest of the question."""
    refuses: bool = False
    language: str = ""
    """Of the last reply; "" where it is not known."""
    asked_in: str = ""
    """The language that an English reply is meant to have, by what was asked; "" where that is not known."""
    end: str = ""
    """"ended", "open" (three dots) or "none"; "" where none is expected."""


_new_traits = cast("Callable[[tuple[int, int, int, bool, str, str, str]], Traits]", partial(tuple.__new__, Traits))
"""At half the call's price."""
NO_TRAITS = Traits()
"""Of a line that could not be read."""


class Said(NamedTuple):
    """The texts of a row by speaker, each with its pointer."""

    system: list[tuple[str, str]]
    asked: list[tuple[str, str]]
    replies: list[tuple[str, str]]
    """Those that are trained on; of a JSON target the text that a person reads, or else its strings of several words."""
    question: str
    """The last text of the user."""
    last: str
    """The reply that the row is about; of several strings the longest."""
    path: str
    """Where it stands."""


def judge_row(
    conversation: Conversation, target: Target | None, texts: Sequence[tuple[str, str]], joined: str, task: Task | None
) -> tuple[Traits, list[Breach]]:
    """Judge a row.

    Args:
        conversation: its turns.
        target: its target, where it has one.
        texts: all texts with their pointers, the strings of JSON decoded.
        joined: the same as one text.
        task: with a task, its wording rules are applied.
    """
    said = _by_speaker(conversation, target, texts, task)
    plain = is_plain(joined)
    has_phrases = may_hold_phrases(joined)
    breaches: list[Breach] = []
    if has_phrases:
        breaches.extend(_phrases(said))
    if not plain:
        breaches.extend(_blanks(said, joined))
    for path, reply in said.replies:
        add_reply_breaches(breaches, path, reply, said.question)
    if said.last:
        if has_phrases or not plain:
            breaches.extend(_language(said))
        if facts.may_state(said.last) and (task is None or not task.wording.file.numbers.units):
            breaches.extend(_facts(said))
        if task is not None and target is not None and not (task.is_json and target.value is None):
            breaches.extend(_task_wording(said, task))
    if len(conversation.turns) > MAX_MESSAGES:
        breaches.append(
            Breach("many-turns", "/messages", f"expected at most {MAX_MESSAGES} messages, found {len(conversation.turns)}")
        )
    asked, system = [text for _, text in said.asked], [text for _, text in said.system]
    return traits_of(said.last, asked, system, len(joined), has_phrases=has_phrases), breaches


def may_hold_phrases(joined: str) -> bool:
    """Whether all texts of a row, as one, hold a word that a phrase may begin with, or an English one; False is certain."""
    return bool(gate().search(f" {joined.lower()}"))


def _by_speaker(conversation: Conversation, target: Target | None, texts: Sequence[tuple[str, str]], task: Task | None) -> Said:
    system: list[tuple[str, str]] = []
    asked: list[tuple[str, str]] = []
    replies: list[tuple[str, str]] = []
    for turn in conversation.turns:
        if turn.role == "assistant":
            if turn.weight != 0:
                replies.extend(_read_reply(turn, target, texts, task))
        elif isinstance(turn.content, str):
            (asked if turn.role == "user" else system).append((turn.path, turn.content))
    path = last = ""
    if target is not None:
        for place, text in replies:
            if len(text) > len(last) and place.startswith(target.path):
                path, last = place, text
    return Said(system, asked, replies, asked[-1][1] if asked else "", last, path)


def _read_reply(
    turn: Turn, target: Target | None, texts: Sequence[tuple[str, str]], task: Task | None
) -> Sequence[tuple[str, str]]:
    """The texts of an assistant's turn that a person reads."""
    if target is None or turn.path != target.path or not isinstance(target.value, (dict, list, str)):
        is_broken = target is not None and turn.path == target.path and task is not None and task.is_json
        return [(turn.path, turn.content)] if isinstance(turn.content, str) and not is_broken else []
    if task is not None and task.reply:
        text = task.reply_text(target.value)
        path = "".join([target.path, *(child("", part) for part in task.reply.split("/")[1:])])
        return [] if text is None else [(path, text)]
    return [(path, text) for path, text in texts if " " in text and path.startswith(turn.path)]


def _phrases(said: Said) -> Iterator[Breach]:
    for path, text in (*said.asked, *said.replies):
        if phrases("injection").found_in(text[:LONGEST], without_accents=True):
            found = "words that tell a model to drop its instructions or to show them"
            yield Breach("prompt-injection", path, f"expected a question or an answer, found {found}")
    for path, text in said.replies:
        if phrases("machine").found_in(text[:LONGEST]):
            found = "a language model's words about itself"
            yield Breach("machine-talk", path, f"expected the reply of whoever the model stands for, found {found}")
        if (_todo().search(text) or phrases("placeholder").found_in(text[:LONGEST])) and not _asks_for_blanks(said):
            yield Breach("placeholder", path, "expected a finished text, found words that somebody meant to replace")


@cache
def _todo() -> re.Pattern[str]:
    return re.compile(r"(?<![\w/-])(?:TODO|FIXME)(?=\s*[:\])]|\s*\Z)|\A\s*(?:TODO|FIXME)\b")


def _asks_for_blanks(said: Said) -> bool:
    return any(word_in("placeholder", "asked").search(text[:LONGEST].lower()) for _, text in (*said.asked, *said.system))


def _blanks(said: Said, joined: str) -> Iterator[Breach]:
    """Brackets that somebody forgot to fill, in questions too; where a form with blanks is asked for, the reply may have them."""
    if not markup.MARKED.search(joined):
        return
    for path, text in (*said.asked[:1], *said.replies):
        found = markup.find_blank(text[:LONGEST])
        if found and not _asks_for_blanks(said):
            yield Breach(
                "placeholder",
                path,
                f"expected a finished text, found a name in brackets that stands for a value, at character {found.start() + 1}",
                found.span(),
            )


def add_reply_breaches(breaches: list[Breach], path: str, reply: str, question: str) -> None:
    """Add what is wrong with a reply by itself, and against its question."""
    if not reply or reply.isspace():  # which is another rule's
        return
    if len(reply) < _MIN_END and (_WORDLESS.match(reply) or reply.strip().lower() in quality_table()["empty"]["words"]):
        found = "signs only, or a word that programs write for nothing"
        breaches.append(Breach("reply-empty", path, f"expected words, found {found}"))
        return
    if reply[-1:] not in _ENDS and (sign := endings.cut_sign(reply)):
        breaches.append(Breach("reply-cut", path, f"expected a whole reply, found {sign}"))
    if loops.may_loop(reply):
        size, times = loops.repeats(reply)
        if size:
            found = f"{size} word(s) said {times} times on end"
            breaches.append(Breach("repeated-phrase", path, f"expected each thing said once, found {found}"))
    if abs(len(reply) - len(question)) < _NEAR_LENGTH and _same(reply, question):
        breaches.append(Breach("reply-repeats-question", path, "expected an answer, found the question again"))


_ENDS = frozenset(".!?…")
_NEAR_LENGTH = 8
"""A repetition differs from the question by a mark or two."""


def _same(reply: str, question: str) -> bool:
    if reply[:1].casefold() != question[:1].casefold():
        return False
    words = re.findall(r"\w+", reply.casefold())
    return len(words) >= _MIN_ECHO_WORDS and words == re.findall(r"\w+", question.casefold())


def _language(said: Said) -> Iterator[Breach]:
    path, reply = said.path, said.last
    before = "\n".join(text for _, text in (*said.system, *said.asked))
    if language.may_switch(reply) and not language.is_about_language(before) and (found := language.switch(reply, before)):
        yield Breach("language-switch", path, f"expected a reply in one language, found {found}")
    if said.system or len(reply) < _MIN_END:
        return
    answered = language.language_of(reply)
    if not answered:
        return
    asked = language.language_of(said.question)
    if (
        asked
        and (asked == language.ENGLISH) != (answered == language.ENGLISH)
        and not language.is_about_language(before)
        and "```" not in reply
    ):
        message = f"expected the language of the question, {language.NAMES[asked]}, found {language.NAMES[answered]}"
        yield Breach("reply-language", path, message)


def _facts(said: Said) -> Iterator[Breach]:
    held = "\n".join(text for _, text in (*said.system, *said.asked))
    for path, reply in said.replies:
        for fact in facts.find_facts(reply[:LONGEST], held):
            place = f"at characters {fact.start + 1} to {fact.end}"
            yield Breach(
                "changing-fact",
                path,
                f"expected what the question holds, found {fact.kind} that it does not, {place}",
                (fact.start, fact.end),
            )


def _task_wording(said: Said, task: Task) -> Iterator[Breach]:
    """What the task's own rules say of the last reply: those that `loren sanity` will judge the model by."""
    path, reply = said.path, said.last
    if "```" in reply and task.is_json:
        yield Breach("code-fence", path, "expected plain text, found a code fence in the reply")
    if len(reply) > MAX_REPLY_CHARACTERS:
        return
    prompt = "\n".join(text for _, text in said.asked)
    if task.wording.file.numbers.units:
        system = "\n".join(text for _, text in said.system)
        # An address of mail is personal data, and told as such.
        changing = [e for e in invented(reply, f"{prompt}\n{system}", task) if e.kind != "number" and "@" not in e.value]
        for found in count_kinds(changing) if changing else ():
            yield Breach("changing-fact", path, f"expected what the question holds, found a reply that {found}")
    faults = [*statement_faults(reply, prompt, task), *voice_faults(reply, task), *length_faults(reply, task)]
    if task.wording.next_step and not names_next_step(reply, task):
        faults.append("names no next step")
    for fault in faults:
        yield Breach("task-wording", path, f"expected the wording that the task asks for, found a reply that {fault}")


def phrase_suspects(together: Together) -> set[int]:
    """The rows, all of them plain, that may hold such a word."""
    text = together.text.lower()
    for sign in BEFORE_WORDS:
        text = text.replace(sign, " ")
    return together.rows_with(spaced_gate().search, text=text)


def traits_of(reply: str, asked: Sequence[str], system: Sequence[str], characters: int, *, has_phrases: bool) -> Traits:
    """What rules over the file need of a row, by its last reply and what was said before it."""
    if not reply:
        return Traits(characters)
    spoken = language.VIETNAMESE
    asked_in = ""
    if has_phrases or not language.has_accents(reply):
        spoken = language.language_of(reply)
        if spoken == language.ENGLISH:
            asked_in = language.answered_in(asked, system)
    refuses = has_phrases and phrases("refusal").found_in(reply[:LONGEST])
    digest = _digest(reply) if reply.count(" ") >= _MIN_SAME_WORDS - 1 else 0
    question = _digest(asked[-1] if asked else "")
    return _new_traits((characters, digest, question, refuses, spoken, asked_in, _end(reply)))


def _end(reply: str) -> str:
    if len(reply) < _MIN_END:
        return ""
    if reply[-1] in ".!?" and reply[-2] != ".":
        return "ended"
    if endings.ends_open(reply):
        return "open"
    if endings.has_end(reply):
        return "ended"
    return "none" if endings.needs_end(reply) else ""


def _digest(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
