"""Generates the stubs of quire.v1 into the package that is built; pyproject.toml has the rest."""

import pathlib
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parent.parent / "proto"
SERVICES = tuple(f"quire/v1/{name}.proto" for name in ("inference", "admin", "cache", "session"))


class BuildWithStubs(build_py):
    def run(self):
        super().run()
        from grpc_tools import _proto, protoc

        imports = [f"-I{PROTOS}", f"-I{next(iter(_proto.__path__))}"]  # The second has google/protobuf/.
        out = self.build_lib
        outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
        if protoc.main(["protoc", *imports, *outputs, *SERVICES]) != 0:
            raise SystemExit(f"protoc could not read {', '.join(SERVICES)} in {PROTOS}")
        (pathlib.Path(out) / "quire/v1/__init__.py").touch()


# Nothing is left in the source tree.
scratch = tempfile.mkdtemp(prefix="quire-client-")
setup(
    packages=["quire"],
    package_data={"quire": ["py.typed"]},
    cmdclass={"build_py": BuildWithStubs},
    options={"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}},
)
