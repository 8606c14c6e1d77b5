"""Rows for benchmarks: about 400 bytes each, in natural Vietnamese, as the shipped task has them; the same for the same number.

Half of the rows of the kind ``mixed`` hold an order id, an amount or a date; rows of the kind ``digit-free`` hold no digit at all.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["mixed", "digit-free"]

_GREETINGS = ("Shop ơi, ", "Chào shop, ", "Bạn ơi, ", "Cho mình hỏi, ", "Ad ơi, ", "Dạ em hỏi chút, ", "")
_PRODUCTS = (
    "áo khoác", "áo sơ mi", "váy hoa", "quần bò", "giày thể thao", "dép đi trong nhà", "mũ len", "khăn choàng", "túi xách", "ba lô",
    "nồi cơm", "ấm đun nước", "máy sấy tóc", "quạt bàn", "đèn ngủ", "chảo chống dính", "bình nước", "hộp cơm", "máy xay", "bàn ủi",
    "chăn hè", "gối ôm", "ga giường", "rèm cửa", "thảm lau chân", "kệ sách", "ghế xếp", "gương soi", "đồng hồ", "tai nghe",
    "ốp điện thoại", "bàn phím", "chuột", "cáp sạc", "loa nhỏ", "sổ tay", "hộp bút", "balo trẻ em", "đồ chơi gỗ", "xe đẩy",
)  # fmt: skip
_COLOURS = ("màu đen", "màu trắng", "màu be", "xanh rêu", "xanh lam", "đỏ đô", "màu hồng", "màu xám", "màu nâu", "vàng nhạt")
_TOPICS = (
    ("billing", "high", "bị trừ tiền hai lần", "khoản tiền bị trừ trùng"),
    ("billing", "medium", "cần xuất hóa đơn công ty", "hóa đơn bạn cần"),
    ("billing", "high", "hủy cả tuần chưa thấy hoàn tiền", "khoản hoàn tiền đang chờ"),
    ("billing", "low", "tính phí giao cao hơn lúc đặt", "phí giao chênh lệch"),
    ("shipping", "medium", "nằm ở kho mấy hôm liền", "kiện hàng còn ở kho"),
    ("shipping", "high", "báo đã giao mà nhà mình chưa nhận", "lần giao chưa có người nhận"),
    ("shipping", "medium", "muốn đổi sang địa chỉ cơ quan", "việc đổi nơi nhận"),
    ("shipping", "low", "lệch màu so với ảnh", "món hàng lệch màu"),
    ("shipping", "high", "mở hộp ra thì đã nứt", "món hàng bị nứt"),
    ("account", "medium", "biến mất khỏi mục yêu thích", "danh sách yêu thích"),
    ("account", "high", "do người lạ vào tài khoản đặt", "tài khoản bị người lạ dùng"),
    ("account", "low", "không viết được đánh giá", "mục đánh giá chưa mở"),
)  # fmt: skip
_ENDINGS = (" nhé.", " ạ.", " với ạ.", ", cảm ơn nhiều.", ".", ", giúp em với.", ", mình chờ lâu rồi.")
_FACTS = (
    " Mã đơn là DH-{order}.", " Đơn VN{order} đặt ngày {day:02}/{month:02}/2026.", " Tổng tiền là {thousands}.000đ.",
    " Mình chuyển {thousands}.000 đồng hôm {day}/{month}.", " Vận đơn ghi SPX{order}.", " Đơn #{order} gồm {count} món.",
)  # fmt: skip
_SORRY = (
    "Mình rất tiếc về {thing}. ",
    "Cảm ơn bạn đã báo về {thing}. ",
    "Mình đã ghi nhận {thing}. ",
    "Mình hiểu bạn đang lo về {thing}. ",
)
_STEPS = (
    "Bạn gửi giúp mình ảnh chụp màn hình để kiểm tra nhé.", "Bạn cho mình biết thời điểm đặt để đối soát nhé.",
    "Bạn xem lại mục đơn hàng rồi nhắn mình nhé.", "Bạn giữ nguyên bao bì và gửi mình vài tấm ảnh nhé.",
    "Bạn mở mục hỗ trợ và chọn yêu cầu này giúp mình nhé.",
)  # fmt: skip


def rows(count: int, kind: Kind, *, seed: int = 7) -> Iterator[bytes]:
    """Yield ``count`` lines with their line ends."""
    chance = random.Random(seed)
    pick = chance.choice
    for number in range(count):
        category, priority, problem, thing = pick(_TOPICS)
        question = f"{pick(_GREETINGS)}{pick(_PRODUCTS)} {pick(_COLOURS)} {problem}{pick(_ENDINGS)}"
        if kind == "mixed" and number % 2:
            question += pick(_FACTS).format(
                order=chance.randrange(10_000, 10_000_000), day=chance.randrange(1, 29), month=chance.randrange(1, 13),
                thousands=chance.randrange(20, 999), count=chance.randrange(2, 9),
            )  # fmt: skip
        answer = pick(_SORRY).format(thing=thing) + pick(_STEPS)
        target = json.dumps({"category": category, "priority": priority, "answer": answer}, ensure_ascii=False)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": target}]
        yield json.dumps({"situation": f"{category}-{pick('abcdefgh')}", "messages": messages}, ensure_ascii=False).encode() + b"\n"


def write(path: Path, count: int, kind: Kind, *, seed: int = 7) -> Path:
    """Write ``count`` rows to ``path``, and give it back."""
    with path.open("wb") as file:
        for line in rows(count, kind, seed=seed):
            file.write(line)
    return path
