#!/bin/sh
# Resolve pyproject.toml into hashed requirements files, all from one resolution so that they can
# be installed into one environment in any combination. Needs uv on PATH; `make lock` provides it.
set -eu
cd "$(dirname "$0")/.."
compile() {
    out=$1
    shift
    uv pip compile pyproject.toml "$@" --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet \
        --output-file "$out"
}
everything=$(mktemp)
trap 'rm -f "$everything"' EXIT
compile "$everything" --upgrade --extra litert --extra signing --group desktop --group cluster \
    --group lite --group test --group lint --group docs
compile requirements/device.txt --extra litert --extra signing --constraint "$everything"
compile requirements/desktop.txt --extra litert --extra signing --group desktop --constraint "$everything"
compile requirements/cluster.txt --group cluster --constraint "$everything"
compile requirements/lite.txt --group lite --constraint "$everything"
compile requirements/test.txt --group test --constraint "$everything"
compile requirements/lint.txt --group lint --constraint "$everything"
compile requirements/docs.txt --group docs --constraint "$everything"
