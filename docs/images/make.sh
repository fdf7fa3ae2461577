#!/bin/sh
# Makes report.png from a fresh demonstration. Needs chromium; PATH must find locard (make demo puts it into .venv/bin).
set -e
cd "$(dirname "$0")/../.."
locard demo --out build/demo > /dev/null
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,1160 \
  --screenshot="$PWD/docs/images/report.png" "file://$PWD/build/demo/report.html"
