#!/usr/bin/env bash
# debian_packages.sh PACKAGE...: installs those of the Debian packages that are not there, with sudo where one is not
# root. Needs no network when none is missing.
set -euo pipefail

die() { printf 'packages: error: %s\n' "$*" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

command -v dpkg-query >/dev/null || die "this script installs Debian packages, and dpkg is not here;
  install the equivalents of: $*"
missing=()
for package in "$@"; do installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -gt 0 ] || exit 0
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "not root and no sudo; as root, run: apt-get install ${missing[*]}"
  sudo=(sudo)
fi
printf 'packages: installing %d Debian packages: %s\n' ${#missing[@]} "${missing[*]}"
"${sudo[@]}" apt-get update -qq || die "apt-get update failed; is the package mirror reachable?"
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
  die "apt-get could not install: ${missing[*]}"
