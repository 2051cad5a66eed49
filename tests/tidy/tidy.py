#!/usr/bin/env python3
"""Checks the rules of this source tree that no compiler checks: `tidy.py ROOT` prints each breach and exits 1 if there is one.

A rule is a function from a tree to breaches; tidy_test.py plants one of each.
"""

import pathlib
import re
import sys

FOLDERS = ("proto", "kernels", "block_manager", "engine", "server", "tests", "deploy")
MAX_LINES = 450
# Path: why it may be longer.
LONG_FILES = {}

# What the files of a folder may include of this project; tests may include everything.
MAY_INCLUDE = {
    "kernels": r"kernels/",
    "block_manager": r"block_manager/|kernels/check\.h$",
    "engine": r"engine/|block_manager/|kernels/[^/]+$",
    "server": r"server/|engine/|block_manager/|kernels/[^/]+$|quire/v1/",
}
# Headers of others, and the only folders that may know them.
CONFINED = (
    ("gRPC and protobuf", r"(grpc|grpcpp|google|quire/v1|kserve|smg)/", ("server/", "tests/")),
    ("the grammar compiler", r"xgrammar/", ("server/grammar/",)),
    ("Boost", r"boost/", ("server/http/", "server/bench/load/", "tests/")),
    ("CUDA", r"(cuda|cublas|cooperative_groups|nvrtc|nvtx)", ("kernels/cuda/", "tests/cuda_shim/", "tests/kernels/cuda/", "tests/bench/gpu/")),
    ("an instruction set", r"(\w*intrin|arm_neon|arm_sve|cpuid)\.h$", ("kernels/cpu/", "tests/kernels/cpu/")),
)
# Headers that stand in for others': they are included by their last names, in angle brackets.
STAND_INS = "tests/cuda_shim/"
FORBIDDEN_TEXT = (
    ("a path of one machine", r"(?<![\w.$}])/(work|root|home|tmp)/"),
    ("an unfinished part", r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b"),
)

SOURCE = (".h", ".cc", ".cu", ".cuh")
HEADER = (".h", ".cuh")


class Tree:
    """The text files of a source tree, by path from its root; what is built or fetched is not part of it."""

    def __init__(self, root):
        self.texts = {}
        for path in sorted(pathlib.Path(root).rglob("*")):
            name = path.relative_to(root).as_posix()
            top = name.split("/")[0]
            in_tree = "/" not in name or top in FOLDERS or top == ".ci"
            if not path.is_file() or not in_tree or name == ".git" or "__pycache__" in name:
                continue
            try:
                self.texts[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                pass  # A binary file.

    def sources(self, suffixes=SOURCE):
        return [name for name in self.texts if name.endswith(suffixes)]

    def lines(self, name):
        return enumerate(self.texts[name].splitlines(), 1)

    def includes(self, name):
        """(line number, quoted or bracketed, header) of each include."""
        for number, line in self.lines(name):
            if match := re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line):
                yield number, match[1] == '"', match[2]


def include_directions(tree):
    for name in tree.sources():
        folder = name.split("/")[0]
        for number, quoted, header in tree.includes(name):
            if quoted and ("/" not in header or ".." in header):
                yield f"{name}:{number}: {header} must be named from the root of the tree"
            ours = header.split("/")[0] in FOLDERS or header.startswith("quire/v1/")
            if ours and folder in MAY_INCLUDE and not re.match(MAY_INCLUDE[folder], header):
                yield f"{name}:{number}: {folder}/ must not include {header}"


def confined_headers(tree):
    for name in tree.sources():
        for number, _, header in tree.includes(name):
            for what, pattern, homes in CONFINED:
                if re.match(pattern, header) and not name.startswith(homes):
                    yield f"{name}:{number}: {header}: only {homes[0]} may know {what}"


def file_length(tree):
    for name, text in tree.texts.items():
        length = text.count("\n")
        if name.endswith(SOURCE + (".py", ".proto", ".sh")) and length > MAX_LINES and name not in LONG_FILES:
            yield f"{name}: {length} lines; split what is more than {MAX_LINES} by idea"
    for name in LONG_FILES:
        if name not in tree.texts or tree.texts[name].count("\n") <= MAX_LINES:
            yield f"{name}: needs no exception from the length of files"


def header_guards(tree):
    for name in tree.sources(HEADER):
        code = (line for _, line in tree.lines(name) if line.strip() and not line.startswith("//"))
        if next(code, None) != "#pragma once":
            yield f"{name}: #pragma once must come before any code"


def dead_files(tree):
    """Headers that nobody but their own .cc includes, and sources that no CMake file builds, by name or by pattern."""
    users = {}
    for name in tree.sources():
        for _, _, header in tree.includes(name):
            users.setdefault(header, set()).add(name)
    for name in tree.sources(HEADER):
        own = {re.sub(r"\.\w+$", suffix, name) for suffix in (".cc", ".cu")}
        using = users.get(name, set())
        if name.startswith(STAND_INS):
            using = using | users.get(name[len(STAND_INS):], set())
        if not using - own - {name}:
            yield f"{name}: nothing includes it"
    for name in tree.sources((".cc", ".cu")):
        if not any(_builds(tree.texts.get(f"{folder}/CMakeLists.txt", ""), folder, name) for folder in _parents(name)):
            yield f"{name}: no CMakeLists.txt builds it"


def _parents(name):
    return [parent.as_posix() for parent in pathlib.PurePosixPath(name).parents][:-1]


def _builds(cmake, folder, name):
    relative = name[len(folder) + 1:]
    # quire_library and quire_tests take every .cc and no .cu.
    everything_below = name.endswith(".cc") and re.search(r"quire_library\(|quire_tests\(|GLOB_RECURSE", cmake)
    pattern = r"\bGLOB\b" if name.endswith(".cc") else r"\bGLOB\b.*\*\.cu\b"
    here = re.search(pattern, cmake) and "/" not in relative
    return everything_below or here or relative in re.split(r'[\s()"]+', cmake)


def forbidden_text(tree):
    for name in tree.texts:
        for number, line in tree.lines(name):
            for what, pattern in FORBIDDEN_TEXT:
                if match := re.search(pattern, line):
                    yield f"{name}:{number}: {match[0]} names {what}"


def coroutine_traps(tree):
    """What gcc 12 compiles wrongly around co_await, as server/http/asio.h tells."""
    for name in tree.sources():
        for match in re.finditer(r"\b(?:while|for) \([^;{]*?co_await|co_await[^;{]*\[[^\]]*\]\s*[({]", tree.texts[name]):
            number = tree.texts[name].count("\n", 0, match.start()) + 1
            what = "a loop's condition" if match[0][0] in "wf" else "one statement with a lambda"
            yield f"{name}:{number}: co_await in {what}"


RULES = (include_directions, confined_headers, file_length, header_guards, dead_files, forbidden_text,
         coroutine_traps)


def breaches(root):
    tree = Tree(root)
    return [f"{breach} [{rule.__name__}]" for rule in RULES for breach in rule(tree)]


def main():
    found = breaches(sys.argv[1])
    print("\n".join(found) if found else "tidy")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
