"""The whole error tree, on one page.

::

    LorenError                    exit   also a
    ├── ConfigError                 2    ValueError       a value, key or option is wrong
    ├── RunFolderError              2    FileExistsError  the run folder exists, or is not what resuming needs
    ├── DataContractError           3    ValueError       rows break the data contract
    │   └── ChatTemplateError       3    ValueError       a chat template can't render a row faithfully
    ├── PrerequisiteError           4    RuntimeError     something the user can install, fetch or free
    │   └── ModelLoadError          4    OSError          a base model or adapter can't be found or loaded
    ├── IntegrityError              5    ValueError       an artifact does not match its digests
    ├── TrainingError               6    RuntimeError     training stopped itself
    │   └── StorageError            6    OSError          the disk refused a write
    └── TrainingInterrupted       130    InterruptedError a signal ended the training after a whole step

Exit 1 is no error: it says that a gate (sanity, evaluation) answered no. 70 is a bug of ours, 130 an interruption.

An error names the place, what was expected and what was found, and carries every problem, not the first one. To add one:
derive it from the branch that a caller would catch, and also from the standard class that it replaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_GATE = 1
"""Exit code of a command whose gate said no."""
EXIT_BUG = 70
"""Exit code of an unexpected exception."""
EXIT_INTERRUPTED = 130
"""Exit code after SIGINT or SIGTERM."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in one place. Never holds a customer's text or a secret."""

    place: str
    """Where: ``train.jsonl:17``, ``train.learning_rate``, ``adapter/tokenizer.json``."""
    message: str
    """What was expected and what was found."""
    rule: str = ""
    """Stable rule id, where a rule found it."""

    def __str__(self) -> str:
        tail = f"  [{self.rule}]" if self.rule else ""
        return f"{self.place}  {self.message}{tail}"


class LorenError(Exception):
    """Anything that Loren knows how to explain; the command line prints it without a traceback."""

    exit_code = 1

    def __init__(self, summary: str, *, problems: Sequence[Problem] = (), hint: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.problems = tuple(problems)
        self.hint = hint

    def __str__(self) -> str:
        """The form that the command line prints: summary, one indented line a problem, a hint."""
        lines = [self.summary, *(f"  {problem}" for problem in self.problems)]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keyword arguments, which ``Exception`` would lose (errors cross process borders)."""
        return (_rebuild, (type(self), self.summary, self.problems, self.hint))


def _rebuild(kind: type[LorenError], summary: str, problems: tuple[Problem, ...], hint: str) -> LorenError:
    return kind(summary, problems=problems, hint=hint)


class ConfigError(LorenError, ValueError):
    """A configuration value, task file or option is wrong."""

    exit_code = 2


class RunFolderError(LorenError, FileExistsError):
    """A run folder exists already, or is not the run that should be resumed."""

    exit_code = 2


class DataContractError(LorenError, ValueError):
    """Rows break the data contract."""

    exit_code = 3


class ChatTemplateError(DataContractError):
    """A chat template can't render a row so that labels and prompts are exact."""


class PrerequisiteError(LorenError, RuntimeError):
    """Something is missing that the user can install, fetch or free; the hint holds the command."""

    exit_code = 4


class ModelLoadError(PrerequisiteError, OSError):
    """A base model, tokenizer or adapter can't be found or loaded."""


class IntegrityError(LorenError, ValueError):
    """An artifact does not match its digests."""

    exit_code = 5


class TrainingError(LorenError, RuntimeError):
    """Training stopped itself: a non-finite or zero loss, an unchanged adapter, no labels."""

    exit_code = 6


class StorageError(TrainingError, OSError):
    """The disk refused a write, or is full."""


class TrainingInterrupted(LorenError, InterruptedError):
    """A signal ended the training after a whole optimiser step, which is saved."""

    exit_code = EXIT_INTERRUPTED
