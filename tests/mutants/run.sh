#!/bin/sh
# Change the code in small ways, one at a time, and see that a test fails each time. Works on a copy
# of the tracked files in mutants-out/, never on the tree itself. Each argument is a file here: what
# is changed, and which tests are to notice. Goes on where it was broken off.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
bin=${BIN:-$root/.venv/bin}
for room in "$@"; do
    config=$root/tests/mutants/$room.toml
    test -f "$config" || {
        echo "no $config; there are: $(cd tests/mutants && echo *.toml)"
        exit 2
    }
    copy=$root/mutants-out/$room
    mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$copy"
    session=$root/mutants-out/$room.sqlite
    (
        cd "$copy"
        PATH=$bin:$PATH PYTHONPATH=$copy PYTHONDONTWRITEBYTECODE=1
        export PATH PYTHONPATH PYTHONDONTWRITEBYTECODE
        if ! test -f "$session"; then
            cosmic-ray baseline "$config"
            cosmic-ray init "$config" "$session"
            cr-filter-operators "$session" "$config"
        fi
        cosmic-ray exec "$config" "$session"
    )
    echo "== $room: those that no test noticed"
    "$bin/cr-report" --show-diff --surviving-only "$session" | tail -n 400
done
