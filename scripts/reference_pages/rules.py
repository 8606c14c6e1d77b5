"""rules.md and rules.vi.md: the data contract."""

from __future__ import annotations

from dataclasses import dataclass

from loren.data.rules import Language, Rule, Scope, Severity, all_rules, words
from reference_pages.markdown import NOTICE, anchor, fenced


@dataclass(frozen=True)
class _Page:
    """What the page says around the rules, in one language."""

    language: Language
    head: str
    columns: str
    severities: dict[Severity, str]
    judges: str
    scopes: dict[Scope, str]
    mend: str
    breaks: str
    passes: str


_ENGLISH = _Page(
    language="en",
    head="""\
# Rules of the data contract

*[Tiếng Việt](rules.vi.md)*

`loren check FILE` judges a training file by these rules; `loren train` refuses a file that breaks one of severity *error*.
`loren check --explain ID` prints one entry of this page. A task can make warnings errors
([`contract.raise`](task.md#contractraise) in `task.toml`); nothing makes an error a warning.

In the examples `<FF>` is the byte 0xFF, `<a*1000>` is `a` a thousand times, and a line that ends with `<n=1..9>` stands for nine
such lines, with 1 to 9 in place of `<n>`. Where a rule needs a task, the task's targets are objects of two keys: `topic`, its
label, is `"a"` or `"b"`, and `reply` is a text that is not empty. Where a rule is about approvals, the tables of an approvals file
follow the rows, and `ROW` stands for the digest of the row, which the JSON report prints as `row`.
""",
    columns="| id | name | severity |",
    severities={"error": "error", "warning": "warning"},
    judges="judges",
    scopes={
        "line": "one line",
        "target": "the target of a line (with `--task`)",
        "file": "the file as a whole",
        "labels": "the label values of the file (with `--task`)",
        "tokens": "rows as tokens of a base model (with `--tokens`)",
        "approvals": "the approvals file (with `--approvals`, or `data.approvals`)",
        "golden": "training rows against the task's golden rows (in `loren train`)",
        "release": "the `DATASET.toml` beside the file (with `--release`)",
    },
    mend="How to mend it:",
    breaks="Breaks the rule:",
    passes="Does not:",
)
_VIETNAMESE = _Page(
    language="vi",
    head="""\
# Các luật của hợp đồng dữ liệu

*[English](rules.md)*

`loren check TỆP` chấm tệp huấn luyện theo các luật này; `loren train` từ chối tệp phạm một luật ở mức *lỗi*.
`loren check --explain MÃ --lang vi` in một mục của trang này. Task có thể nâng cảnh báo thành lỗi
([`contract.raise`](task.md#contractraise) trong `task.toml`); không gì hạ được lỗi xuống cảnh báo.

Trong các ví dụ, `<FF>` là byte 0xFF, `<a*1000>` là một nghìn chữ `a`, và dòng kết thúc bằng `<n=1..9>` là chín dòng như vậy, với 1
đến 9 thay cho `<n>`. Với những luật cần task, câu trả lời mẫu là đối tượng có hai khóa: `topic`, tức nhãn, là `"a"` hoặc `"b"`, và
`reply` là một văn bản không trống. Với những luật về phê duyệt, các bảng của tệp phê duyệt đứng sau các dòng dữ liệu, và `ROW` thay
cho mã băm của dòng, được báo cáo JSON in ra ở khóa `row`.
""",
    columns="| mã | tên | mức |",
    severities={"error": "lỗi", "warning": "cảnh báo"},
    judges="xét",
    scopes={
        "line": "từng dòng",
        "target": "câu trả lời mẫu của từng dòng (với `--task`)",
        "file": "cả tệp",
        "labels": "các giá trị nhãn trong tệp (với `--task`)",
        "tokens": "các dòng tính theo token của mô hình nền (với `--tokens`)",
        "approvals": "tệp phê duyệt (với `--approvals`, hoặc `data.approvals`)",
        "golden": "dòng huấn luyện so với dòng golden của task (trong `loren train`)",
        "release": "tệp `DATASET.toml` nằm cạnh dữ liệu (với `--release`)",
    },
    mend="Cách sửa:",
    breaks="Phạm luật:",
    passes="Đúng luật:",
)


def rules_page() -> str:
    """Every rule of the data contract with its two examples."""
    return _written(_ENGLISH)


def vietnamese_rules_page() -> str:
    """The same in Vietnamese."""
    return _written(_VIETNAMESE)


def _written(page: _Page) -> str:
    rules = list(all_rules().values())
    lines = [
        f"| [{rule.id}](#{anchor(f'{rule.id} {rule.name}')}) | {rule.name} | {page.severities[rule.severity]} |" for rule in rules
    ]
    table = f"{page.columns}\n|---|---|---|\n" + "\n".join(lines) + "\n"
    return "\n".join([NOTICE, page.head, table, *(_rule_entry(rule, page) for rule in rules)])


def _rule_entry(rule: Rule, page: _Page) -> str:
    hint, explanation = words(rule, page.language)
    facts = f"{page.severities[rule.severity]} · {page.judges} {page.scopes[rule.scope]}"
    return (
        f"## {rule.id} {rule.name}\n\n{facts}\n\n{explanation}\n\n"
        f"**{page.mend}** {hint}\n\n{page.breaks}\n\n{fenced(rule.breaks)}\n{page.passes}\n\n{fenced(rule.passes)}"
    )
