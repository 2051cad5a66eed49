"""The generated classes of quire/v1/inference.proto, made from the tree's own file when this is imported."""

import pathlib
import sys

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "proto"))
pb, rpc = grpc.protos_and_services("quire/v1/inference.proto")
