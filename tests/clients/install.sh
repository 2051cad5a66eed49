#!/usr/bin/env bash
# Installs the clients that tests run against the server, from PyPI: a virtual environment in .deps/clients/ for each
# NAME.txt here, whose pins and hashes pip checks. With arguments: those names only. Idempotent.
#
# To change pins, edit NAME.in, then: pip-compile --generate-hashes --strip-extras --output-file=NAME.txt NAME.in
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'clients: %s\n' "$*"; }
die() { printf 'clients: error: %s\n' "$*" >&2; exit 1; }

install() {
  local name=$1 requirements=tests/clients/$1.txt venv=.deps/clients/$1
  [ -f "$requirements" ] || die "there is no $requirements"
  cmp --silent "$requirements" "$venv/installed.txt" && return 0
  say "installing $name into $venv/"
  rm -rf "$venv"
  python3 -m venv "$venv" || die "python3 -m venv failed; is python3-venv installed?"
  "$venv/bin/pip" --quiet --disable-pip-version-check install --require-hashes --only-binary=:all: --no-deps \
    -r "$requirements" || die "pip could not install $requirements (each package must be reachable and match its sha256)"
  # Last: an interrupted installation is begun anew.
  cp "$requirements" "$venv/installed.txt"
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for file in tests/clients/*.txt; do
    [ "$(basename "$file")" = CMakeLists.txt ] || names+=("$(basename "$file" .txt)")
  done
fi
for name in "${names[@]}"; do install "$name"; done
