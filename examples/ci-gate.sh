#!/bin/sh
# The gate of a build server: run from the top of the repository. Extra arguments go to locard audit.
status=0
locard audit examples/ci-gate.toml --out runs/ci-gate "$@" || status=$?
case $status in
  0) outcome="within policy" ;;
  1) outcome="policy exceeded" ;;
  3) outcome="not settled: audit more records, train more models, or move the limit" ;;
  *) echo "the audit could not be done"; exit "$status" ;;
esac
locard report runs/ci-gate --redact # the page without ids, which may be kept as a build artefact
echo "$outcome"
exit "$status"
