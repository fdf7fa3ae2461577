"""A result without names: what may be published. Redaction happens to the value, before anything is rendered."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from locard.report.record_table import group_columns
from locard.result import AuditResult, ClassCount, GroupPart, Result

FEWEST = 10  # a group or class of fewer records is not named
GONE = "[redacted]"

# The text of the tree that a program wrote about the data, and in which a name may stand.
_PATH = re.compile(
    r"(?<![\w.])(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\s'\"`,;)]+"
    r"|[^\s'\"`,;(]+\.(?:csv|tsv|parquet|npz|npy|txt|skops|onnx|pkl|pickle|joblib|toml|json|safetensors"
    r"|pt|pth|ckpt|h5|keras|ubj|cbm|bin)\b"
)
_LOCATED = {"source", "model", "members", "path", "folder", "out", "file", "observations", "member", "labels", "ids"}
_LOCATED |= {"checkpoints", "loader", "candidates"}


@dataclass(frozen=True)
class Names:
    """What must not be printed: names recognisable wherever they stand; bare numbers and one or two letters."""

    words: frozenset[str]
    common: frozenset[str]

    @classmethod
    def of(cls, result: AuditResult) -> Names:
        """Every id and unit, and every class or group value that fewer than ``FEWEST`` records have."""
        frame = result.records
        found: set[str] = set()
        for column in ("id", "unit"):
            if column in frame.columns:
                found |= {str(v) for v in frame[column].tolist()}
        for column in ("label", *group_columns(result)):
            if column in frame.columns:
                counts = frame[column].astype(str).value_counts()
                found |= set(counts.index[counts < FEWEST])
        found |= {g.name for g in result.summary.groups if g.records < FEWEST}
        found |= {c.label for c in result.summary.data.classes if c.records < FEWEST}
        found -= {"", "None", "nan", "<NA>"}
        common = {v for v in found if len(v) < 3 or re.fullmatch(r"[+-]?[\d.,]+", v)}
        return cls(frozenset(found - common), frozenset(common))

    def cleaner(self, texts: list[str]) -> Callable[[str], str]:
        """A function that cleans one of ``texts``; only names that occur in them are looked for."""
        everything = "\n".join(texts)
        present = sorted((w for w in self.words if w in everything), key=lambda w: (-len(w), w))
        patterns = [re.compile(rf"(?<!\w){re.escape(w)}(?!\w)") for w in present]
        after = re.compile(r"(?i)\b((?:record|unit|id|row|group|class)s?\s+#?['\"]?)([^\s'\",;:]*[^\s'\",;:.])")

        def clean(words: str) -> str:
            for pattern in patterns:
                words = pattern.sub(GONE, words)
            words = after.sub(lambda m: m[1] + GONE if m[2] in self.common else m[0], words)
            return _PATH.sub(GONE, words)

        return clean


def redact(result: AuditResult) -> AuditResult:
    """The result without ids, units, small groups, per-record rows, scores or places of files.

    Numbers over all records stay as they are. Names that are bare numbers, or of one or two letters, are taken out of
    sentences only where they follow a word such as "record": elsewhere a number is a count.
    """
    names = Names.of(result)
    tree = result.summary.model_dump(mode="python", by_alias=True)
    tree["cards"] = []  # all of it is about single records
    for attack in tree["attacks"]:
        attack["indirect"] = []
    texts: list[str] = []
    _walk(tree, texts.append)
    clean = names.cleaner(texts)
    tree = _walk(tree, clean)
    tree["settings"] = _settings(tree["settings"])
    tree["data"]["classes"] = _classes(result.summary.data.classes)
    tree["data"]["unit"] = None if result.summary.data.unit is None else GONE
    tree["data"]["source"] = _location(tree["data"]["source"])
    kept = [g for g in result.summary.groups if g.records >= FEWEST]
    tree["groups"] = [g.model_dump(by_alias=True) for g in kept]
    if tree["released"] is not None:
        tree["released"]["model"] = _location(tree["released"]["model"])
    tree["data"]["notes"] += _left_out(result)
    _keep(tree, result)
    return AuditResult(Result.model_validate(tree), result.records.iloc[:0], {})


def _left_out(result: AuditResult) -> list[str]:
    """One sentence for each grouping from which values were left out."""
    by: dict[str, list[GroupPart]] = {}
    for g in result.summary.groups:
        if g.records < FEWEST:
            by.setdefault(g.by, []).append(g)
    return [f"{len(v)} of the values of {k} have fewer than {FEWEST} records and are left out." for k, v in by.items()]


def _keep(tree: dict[str, Any], result: AuditResult) -> None:
    """Put back what is chosen from a fixed list or written by this package, and so holds no name."""
    for part, attack in zip(tree["attacks"], result.summary.attacks, strict=True):
        part |= {"name": attack.name, "label": attack.label, "access": attack.access, "source": attack.source}
    tree["target"] |= {"kind": result.summary.target.kind, "design": result.summary.target.design}
    tree["policy"]["outcome"] = result.summary.policy.outcome
    for part in ("one_run", "canaries", "sequential"):
        kept = getattr(result.summary, part)
        tree[part] = None if kept is None else kept.model_dump()
    tree["schema_version"], tree["locard_version"] = result.summary.schema_version, result.summary.locard_version
    tree["data"]["fingerprint"] = result.summary.data.fingerprint
    for part, group in zip(tree["groups"], (g for g in result.summary.groups if g.records >= FEWEST), strict=True):
        part |= {"by": group.by, "name": group.name}


def _classes(classes: list[ClassCount]) -> list[dict[str, Any]]:
    kept = [c.model_dump() for c in classes if c.records >= FEWEST]
    small = [c for c in classes if c.records < FEWEST]
    if small:
        label = f"{len(small)} with fewer than {FEWEST} records each"
        kept.append({"label": label, "records": sum(c.records for c in small)})
    return kept


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the places of files."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            out[key] = _settings(value)
        elif isinstance(value, list):
            texts = [_location(v) if isinstance(v, str) and key in _LOCATED else v for v in value]
            out[key] = [_settings(v) if isinstance(v, dict) else v for v in texts]
        elif isinstance(value, str) and key in _LOCATED:
            out[key] = _location(value)
        else:
            out[key] = value
    return out


def _location(place: str) -> str:
    """A name such as ``adult`` stays; anything that looks like a file, a folder or code does not."""
    return place if re.fullmatch(r"[A-Za-z0-9_ -]+", place) else GONE


def _walk(tree: Any, clean: Callable[[str], Any]) -> Any:
    """The tree with every string passed through ``clean`` (dictionary keys stay)."""
    if isinstance(tree, str):
        return clean(tree)
    if isinstance(tree, dict):
        return {k: _walk(v, clean) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [_walk(v, clean) for v in tree]
    return tree
