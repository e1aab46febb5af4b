"""Two ways from an article's lines to its text: `thesis`, as script A.1 has it, and `unsigned`, without what names
the site.

Both see one article alone and never its category, so that no label steers the cleaning.
"""

import re

_DROPPED = str.maketrans({"\n": "", "\t": "", "\u3000": ""})


def clean_thesis(lines: list[str]) -> str:
    """Script A.1's cleaning: line breaks, tabs and full-width spaces dropped, then stripped.

    Args:
        lines: The article's lines from the title on, each with its line break.
    """
    return "".join(lines).translate(_DROPPED).strip()


def clean_unsigned(lines: list[str]) -> str:
    """The thesis's cleaning without what tells the site at a glance.

    Left out are: lists of links with their headings; lines that sign an article (author, editor, provider, copyright)
    and in-house advertisements; a name in brackets that ends an article's line; and, wherever they stand, the nine
    sites' names, Peachy's former name, the portal's name, and web addresses and accounts that contain one.

    Args:
        lines: The article's lines from the title on, each with its line break.
    """
    kept = [_without_names(_without_byline(line.strip())) for line in _without_link_lists(lines) if not _signs(line)]
    text = clean_thesis(kept)
    # What is joined may name a site again, where a name was broken over two lines or stood inside itself.
    while names_a_site(text):
        text = _NAMES.sub("", text).strip()
    return text


def names_a_site(text: str) -> bool:
    """Whether one of the names that `clean_unsigned` drops still stands in `text`."""
    return bool(_NAMES.search(text))


# --- lists of links -------------------------------------------------------------------------------------------------

_LINK_HEADING = re.compile(
    r"^[\s・●■◆◎▼<＜(（【\[]*.{0,25}(?:関連|おすすめ)\s*"
    r"(?:記事|リンク|サイト|情報|ニュース|特集|動画|ページ|URL|コンテンツ|エントリー?)"
    r".{0,6}$"
)
_BULLETS = tuple("・●■◆◎○☆★⇒→>＞")
_ADDRESS = re.compile(r"^https?://\S+$")


def _without_link_lists(lines: list[str]) -> list[str]:
    """Drop each link heading and the bulleted lines under it; the title, which comes first, always stays."""
    kept, in_list = lines[:1], False
    for line in lines[1:]:
        text = line.strip()
        if _LINK_HEADING.match(text):
            in_list = True
        elif text and not (in_list and _is_link(text)):
            in_list = False
            # Outside such a list, a bulleted line that names a site is a link to that site as well.
            if not (_is_link(text) and _NAMES.search(text)):
                kept.append(line)
    return kept


def _is_link(text: str) -> bool:
    return text.startswith(_BULLETS) or bool(_ADDRESS.match(text))


# --- signatures -----------------------------------------------------------------------------------------------------

_SIGNATURE = re.compile(
    r"""^\s*(?:
        (?:記事)?(?:執筆|提供)(?:元|者|協力)?\s*[：:／/] .*          # who wrote or provided it
      | (?:文|取材|取材・文|写真|撮影|イラスト|編集部|制作編集|監修者?名?)\s*[：:] .{1,60}
      | [・●＜<]?\s*(?:文|イラスト|監修者名)\s*[：:] .*            # an author's portrait
      | ・?\s*(?:レポート|文責|written|text|photo)\s*(?:by|[：:=＝]) .{1,60}
      | .{0,40}[\[［]digi2.*                                      # the digital column's authors
      | (?:digi2は|皆さんがデジタル機器の).*                        # and what is said about it each time
      | Copyright\b.*
      | (?:live?d\w*|ライブドア)\s*(?:求人・転職|ハイクラス転職).*   # in-house advertisements
      | [（(] [^（）()。、！？!?※0-9０-９]{2,40} [）)]              # a line that is a name in brackets
    )\s*$""",
    re.VERBOSE | re.IGNORECASE,
)
# After a sentence's end: no digits, no punctuation, so that "（35歳）" and remarks in brackets stay.
_BYLINE = re.compile(r"(?<=[。！？!?」』…♪])\s*[（(][^（）()。、！？!?0-9０-９]{2,40}[）)]$")


def _signs(line: str) -> bool:
    return bool(_SIGNATURE.match(line))


def _without_byline(text: str) -> str:
    return _BYLINE.sub("", text)


# --- names ----------------------------------------------------------------------------------------------------------


def _either_width(name: str) -> str:
    """A pattern for `name` in half-width or full-width letters, with or without space or hyphen between its parts."""
    parts = []
    for character in name:
        if character in " -":
            parts.append(r"[\s\-_‐−–—－ー]?")
        elif "!" <= character <= "~":
            parts.append(f"[{character}{chr(ord(character) + 0xFEE0)}]")
        else:
            parts.append(re.escape(character))
    return "".join(parts)


_PORTAL = ("livedoor", "livedroor", "ライブドア")
# The perfumes and cosmetics called "… HOMME" are no site's name, so HOMME goes only with the portal's.
_SITE_NAMES = (
    *(f"{portal} HOMME" for portal in (*_PORTAL, "ld")),
    "ITライフハック",
    "IT lifehack",
    "MOVIE ENTER",
    "MOVIE WNTER",
    "ムービーエンター",
    "Peachy",
    "ピーチィ",
    "才職兼美",
    "S-MAX",
    "エスマックス",
    "Sports Watch",
    "独女通信",
    "家電チャンネル",
    "トピックニュース",
    *_PORTAL,
)
_NAME = "|".join(_either_width(name) for name in _SITE_NAMES)
_NAMES = re.compile(_NAME, re.IGNORECASE)
_OPENING, _CLOSING = r"[【「『（(\[［＜<“]", r"[】」』）)\]］＞>”]"
_ADDRESS_WITH_NAME = re.compile(
    rf"(?:https?://|www\.|@|＠)[\w./?=&%#~\-]*(?:{_NAME})[\w./?=&%#~\-]*", re.IGNORECASE | re.ASCII
)
_BRACKETED_NAME = re.compile(rf"{_OPENING}\s*(?:{_NAME})\s*{_CLOSING}", re.IGNORECASE)


def _without_names(text: str) -> str:
    for pattern in (_ADDRESS_WITH_NAME, _BRACKETED_NAME, _NAMES):
        text = pattern.sub("", text)
    return text
