#!/usr/bin/env python3
"""Plants one breach of each rule in a small tidy tree, and expects tidy.py to name it and nothing else."""

import pathlib
import tempfile
import unittest
import unittest.mock

import tidy

TIDY_TREE = {
    "Makefile": "all:\n",
    "build/junk.h": "no guard, and nobody includes it\n",
    "kernels/CMakeLists.txt": "quire_library(quire_kernels)\n",
    "kernels/check.h": "// An assertion.\n#pragma once\n#include <cstdio>\n",
    "kernels/cpu/simd.cc": '#include <immintrin.h>\n#include "kernels/check.h"\n',
    "kernels/cuda/gemm.cu": '#include <cuda_runtime.h>\n#include "kernels/cuda/tiles.cuh"\n',
    "kernels/cuda/tiles.cuh": "#pragma once\n",
    "kernels/cuda/CMakeLists.txt": "add_library(quire_cuda gemm.cu)\n",
    "block_manager/CMakeLists.txt": "quire_library(quire_block_manager)\n",
    "block_manager/pool.h": "#pragma once\n",
    "block_manager/pool.cc": '#include "block_manager/pool.h"\n#include "kernels/check.h"\n',
    "engine/CMakeLists.txt": "quire_library(quire_engine)\n",
    "engine/engine.h": '#pragma once\n#include "block_manager/pool.h"\n',
    "server/CMakeLists.txt": "add_executable(quire main.cc)\n",
    "server/main.cc": '#include <grpcpp/grpcpp.h>\n#include "engine/engine.h"\n#include "quire/v1/admin.pb.h"\n',
    "tests/CMakeLists.txt": "quire_tests(all_tests)\n",
    "tests/cuda_shim/cuda_runtime.h": "#pragma once\n",
    "tests/cuda_shim/shim_test.cc": "#include <cuda_runtime.h>\n",
    "tests/engine_test.cc": '#include <gtest/gtest.h>\n#include "engine/engine.h"\n',
}


class TidyTest(unittest.TestCase):
    def setUp(self):
        patched = unittest.mock.patch.dict(tidy.LONG_FILES, clear=True)
        patched.start()
        self.addCleanup(patched.stop)

    def breaches_of(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**TIDY_TREE, **changes}.items():
                if text is None:  # Taken away.
                    continue
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return tidy.breaches(root)

    def expect_breach(self, rule, where, changes):
        found = self.breaches_of(changes)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(where), found)
        self.assertTrue(found[0].endswith(f"[{rule.__name__}]"), found)

    def expect_include_breach(self, rule, name, include):
        self.expect_breach(rule, f"{name}:1: ", {name: f"#include {include}\n" + TIDY_TREE.get(name, "")})

    def test_accepts_a_tidy_tree(self):
        self.assertEqual(self.breaches_of({}), [])

    def test_notices_an_include_against_the_direction(self):
        for name, header in (
            ("kernels/cpu/simd.cc", "block_manager/pool.h"),
            ("block_manager/pool.cc", "engine/engine.h"),
            ("block_manager/pool.cc", "kernels/ops.h"),
            ("engine/engine.cc", "server/backend.h"),
            ("engine/engine.cc", "kernels/cpu/worker_pool.h"),
            ("engine/engine.cc", "tests/fakes/fake.h"),
            ("server/main.cc", "kernels/cuda/gemm.h"),
        ):
            with self.subTest(name=name, header=header):
                self.expect_include_breach(tidy.include_directions, name, f'"{header}"')

    def test_notices_an_include_that_hides_its_direction(self):
        for header in ("pool.h", "../engine/engine.h"):
            with self.subTest(header=header):
                self.expect_include_breach(tidy.include_directions, "block_manager/pool.cc", f'"{header}"')

    def test_notices_headers_of_others_outside_the_folder_that_may_know_them(self):
        for name, header in (
            ("engine/engine.cc", "grpcpp/grpcpp.h"),
            ("engine/engine.cc", "google/protobuf/message.h"),
            ("engine/engine.cc", "smg/common.pb.h"),
            ("kernels/cpu/simd.cc", "cuda_runtime.h"),
            ("tests/engine_test.cc", "cuda_bf16.h"),
            ("engine/engine.cc", "cublasLt.h"),
            ("engine/engine.cc", "immintrin.h"),
            ("server/main.cc", "boost/asio/post.hpp"),
        ):
            with self.subTest(name=name, header=header):
                self.expect_include_breach(tidy.confined_headers, name, f"<{header}>")

    def test_notices_a_long_file(self):
        self.expect_breach(tidy.file_length, "engine/long.cc: 451 lines", {"engine/long.cc": "\n" * 451})
        self.assertEqual(self.breaches_of({"engine/long.cc": "\n" * 450}), [])

    def test_notices_an_exception_that_is_not_needed(self):
        tidy.LONG_FILES["engine/engine.h"] = "for this test"
        self.expect_breach(tidy.file_length, "engine/engine.h: needs no exception", {})

    def test_notices_a_missing_header_guard(self):
        self.expect_breach(tidy.header_guards, "kernels/check.h: ", {"kernels/check.h": "#include <cstdio>\n"})

    def test_notices_a_header_that_only_its_own_source_includes(self):
        self.expect_breach(
            tidy.dead_files,
            "engine/unused.h: ",
            {"engine/unused.h": "#pragma once\n", "engine/unused.cc": '#include "engine/unused.h"\n'},
        )

    def test_notices_a_kernel_header_that_only_its_own_kernels_include(self):
        changes = {"kernels/cuda/gemm.cuh": "#pragma once\n", "kernels/cuda/gemm.cu": '#include "kernels/cuda/gemm.cuh"\n'}
        self.expect_breach(tidy.dead_files, "kernels/cuda/gemm.cuh: ", {**changes, "kernels/cuda/tiles.cuh": None})

    def test_notices_a_stand_in_that_nobody_needs(self):
        self.expect_breach(tidy.dead_files, "tests/cuda_shim/cuda_fp4.h: ", {"tests/cuda_shim/cuda_fp4.h": "#pragma once\n"})

    def test_a_pattern_for_other_sources_does_not_build_kernels(self):
        changes = {"kernels/cuda/CMakeLists.txt": "file(GLOB sources *.cc)\n"}
        self.expect_breach(tidy.dead_files, "kernels/cuda/gemm.cu: ", changes)
        self.assertEqual(self.breaches_of({"kernels/cuda/CMakeLists.txt": "file(GLOB sources *.cu *.cc)\n"}), [])

    def test_notices_a_source_that_nothing_builds(self):
        self.expect_breach(tidy.dead_files, "server/other.cc: ", {"server/other.cc": "\n"})
        self.assertEqual(self.breaches_of({"server/other.cc": "\n", "server/CMakeLists.txt": "add(main.cc other.cc)"}), [])

    def test_a_pattern_of_one_folder_does_not_build_those_below(self):
        changes = {"server/CMakeLists.txt": "file(GLOB sources *.cc)\n"}
        self.assertEqual(self.breaches_of(changes), [])
        self.expect_breach(tidy.dead_files, "server/cli/chat.cc: ", {**changes, "server/cli/chat.cc": "\n"})

    def test_notices_text_that_has_no_place_here(self):
        for text in ("see /" "work/notes", "rm /" "tmp/x", "TO" "DO: the rest"):
            with self.subTest(text=text):
                self.expect_breach(tidy.forbidden_text, "README.md:2: ", {"README.md": f"Quire\n{text}\n"})
        self.assertEqual(self.breaches_of({"README.md": "https://x.org/work/ and $HOME/work/ are no such paths\n"}), [])

    def test_notices_coroutines_that_the_compiler_gets_wrong(self):
        for statement in ("while (co_await Next()) {", "auto x = co_await Run(y, [z] { return z; });", "co_await Run([=](int) {});"):
            with self.subTest(statement=statement):
                self.expect_breach(tidy.coroutine_traps, "server/main.cc:1: ", {"server/main.cc": f"{statement}\n"})
        self.assertEqual(self.breaches_of({"server/main.cc": "while (x) {\n  co_await y[0];\n  f([z] {});\n}\n"}), [])


if __name__ == "__main__":
    unittest.main()
