"""The page's script in a real browser: the installed Chromium, or the one that LOCARD_BROWSER names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSER = os.environ.get("LOCARD_BROWSER") or shutil.which("chromium")
OPTIONS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"

ACTIONS = """
var table = document.getElementById("records"), out = {};
var tools = document.querySelector(".tools[data-for=records]");
var filter = tools.querySelector(".filter"), grade = tools.querySelector(".grade-filter");
function rows() { return Array.from(table.tBodies[0].rows).filter(r => !r.hidden); }
function key(cell) { return Number(cell.getAttribute("data-sort") || cell.getAttribute("data-v")); }
function column(i) { return rows().map(r => key(r.cells[i])); }
function press(i) { table.tHead.rows[0].cells[i].querySelector("button").click(); }
out.tools = !tools.hidden;
press(7); out.up = column(7); out.mark = table.tHead.rows[0].cells[7].getAttribute("aria-sort");
press(7); out.down = column(7);
press(4); out.found = column(4);
grade.value = "exposed"; grade.dispatchEvent(new Event("change")); out.exposed = rows().length;
out.status = tools.querySelector(".shown").textContent;
filter.value = "ALERT"; filter.dispatchEvent(new Event("input")); out.alert = rows().map(r => r.cells[1].textContent);
filter.value = ""; filter.dispatchEvent(new Event("input"));
out.csv = locard.csv(table);
var pre = document.createElement("pre"); pre.textContent = JSON.stringify(out);
document.documentElement.replaceChildren(pre);
"""


@pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here to run the page's script; install one, or set LOCARD_BROWSER"
)
def test_sorting_filtering_and_the_download_in_a_browser(page: str, tmp_path: Path) -> None:
    # Planted: csvCell without its guard; sorting by text.
    without = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    file = tmp_path / "page.html"
    file.write_text(without.replace("</body>", f"<script>{ACTIONS}</script></body>"), "utf-8")
    command = [
        str(BROWSER),
        *OPTIONS.split(),
        f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=4000",
        "--dump-dom",
    ]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<pre>(.*)</pre>", done.stdout, re.DOTALL)
    assert found is not None
    out: dict[str, Any] = json.loads(unescape(found[1]))
    assert out["tools"]
    assert out["mark"] == "ascending"
    assert out["up"] == sorted(out["up"])
    assert out["down"] == sorted(out["up"], reverse=True)
    assert out["found"] == sorted(out["found"])
    assert (out["exposed"], out["status"]) == (37, "37 of 205 rows")
    assert sorted(out["alert"]) == ['"><img src=x onerror=alert(2)>', "<script>alert(1)</script>"]
    lines = out["csv"].split("\r\n")
    assert len(lines) == 1 + 37 + 1
    assert lines[0].startswith('"#","Record","Label","Grade","Found when trained on","Found when trained on, low"')
    for name in ("=cmd()|' /C calc'!A0", "+1+cmd", "@SUM(A1)", "-2+3+cmd"):
        assert any(f'"\'{name}"' in line for line in lines)
        assert not any(f'"{name}"' in line for line in lines)
    assert any('"O\'Brien ""the"" & co"' in line and ' of 16",' in line for line in lines)
