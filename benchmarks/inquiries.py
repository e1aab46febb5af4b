"""A made-up file of inquiries to a shop: what people have, with a column of the text and one of the class."""

import csv
from pathlib import Path

import numpy as np

PARTS = {
    "返品": [
        "届いた商品が壊れていた",
        "サイズが合わないので返品したい",
        "色が写真と違うので返したい",
        "箱がつぶれていた",
    ],
    "配送": ["荷物がまだ届かない", "配達の日時を変えたい", "送り先の住所を直したい", "追跡番号を教えてほしい"],
    "支払い": ["カードの支払いができない", "領収書を送ってほしい", "請求の金額が違う", "二重に引き落とされた"],
    "会員": ["パスワードを忘れた", "会員を退会したい", "メールアドレスを変えたい", "ログインができない"],
}
COMMON = [
    "お世話になります。",
    "すみませんが、",
    "先週注文した件です。",
    "至急お願いします。",
    "よろしくお願いします。",
    "昨日から困っています。",
]


def inquiries(count: int, *, seed: int = 0, mislabelled: float = 0.05) -> tuple[list[str], list[str]]:
    """Texts and labels; a share of the labels is another class's."""
    random = np.random.default_rng(seed)
    names = list(PARTS)
    texts, labels = [], []
    for number in range(count):
        name = names[number % len(names)]
        said = [str(random.choice(COMMON)), str(random.choice(PARTS[name])), str(random.choice(COMMON))]
        texts.append(f"{number}番です。" + "".join(said))
        labels.append(str(random.choice(names)) if random.random() < mislabelled else name)
    return texts, labels


def write_inquiries(path: Path, count: int = 200) -> Path:
    """A CSV file with the columns 受付番号, 本文 and 分類."""
    texts, labels = inquiries(count)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["受付番号", "本文", "分類"])
        rows.writerows(zip(range(count), texts, labels, strict=True))
    return path
