"""Reading a report back: its text, tags, attributes, tables and numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

INLINE = {"wbr", "bdi", "span", "strong", "code", "a"}
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "rect", "line", "path", "circle"}


@dataclass
class Page(HTMLParser):
    """What a browser without scripts would see."""

    source: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._table = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {k: v or "" for k, v in attrs}
        self.tags.append((tag, named))
        if tag not in VOID:
            self.open.append(tag)
        if tag not in INLINE:
            self.words.append(" ")
        if tag == "table":
            self._table = named["id"]
            self.tables[self._table] = []
        if tag == "tr" and self._table:
            self.tables[self._table].append([])
        if tag in ("td", "th") and self._table:
            self.tables[self._table][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass
        if tag not in INLINE:
            self.words.append(" ")
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
            return
        if self.open and self.open[-1] == "style":
            return
        self.words.append(data)
        inside = "td" in self.open or "th" in self.open
        if self._table and inside and self.tables[self._table] and self.tables[self._table][-1]:
            self.tables[self._table][-1][-1] += data

    @property
    def text(self) -> str:
        """All words outside scripts and styles."""
        return re.sub(r"\s+", " ", "".join(self.words))

    @property
    def numbers(self) -> set[str]:
        """Every number in words and attributes, as written, separators taken out."""
        attributes = " ".join(
            v for _, a in self.tags for k, v in a.items() if k in ("title", "data-v", "data-low", "data-high")
        )
        found = re.findall(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", f"{attributes} {self.text}")
        return {n.replace(",", "") for n in found} | set(found)
