#!/usr/bin/env bash
# Installs the clients that tests run against the server, from PyPI: a virtual environment in .deps/clients/ for each
# NAME.txt here, whose pins and hashes pip checks; and from Debian a browser (unless QUIRE_SKIP_APT=1) and Prometheus, of
# which it takes the programs alone, since the package would start a service. With arguments: those names only.
# Idempotent.
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

install_prometheus() {
  local target=.deps/clients/prometheus
  [ ! -x $target/promtool ] || return 0
  say "fetching Debian's prometheus into $target/ (20 MB)"
  rm -rf $target
  mkdir -p $target
  (
    cd $target
    # Where the lists of packages are missing or old, they are fetched first.
    apt-get download -qq prometheus 2>/dev/null || { as_root apt-get update -qq && apt-get download -qq prometheus; } ||
      die "apt-get download prometheus failed; is the package mirror reachable?"
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/prometheus ./usr/bin/promtool
    rm prometheus_*.deb
  )
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

[ "${QUIRE_SKIP_APT:-0}" = 1 ] || deploy/debian_packages.sh chromium fonts-dejavu-core

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  names=(prometheus)
  for file in tests/clients/*.txt; do
    [ "$(basename "$file")" = CMakeLists.txt ] || names+=("$(basename "$file" .txt)")
  done
fi
for name in "${names[@]}"; do
  if [ "$name" = prometheus ]; then install_prometheus; else install "$name"; fi
done
