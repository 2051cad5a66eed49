"""The gateways' protocol over grpcio, with the stubs that smg-grpc-proto ships."""

import grpc
from smg_grpc_proto import vllm_engine_pb2 as vllm
from smg_grpc_proto import vllm_engine_pb2_grpc
from smg_grpc_proto.generated import common_pb2 as common

TIMEOUT_S = 60


def connect(server):
    return vllm_engine_pb2_grpc.VllmEngineStub(grpc.insecure_channel(server.grpc_target))


def request(input_ids, *, stream=False, request_id="", **sampling):
    sampling.setdefault("temperature", 0)
    return vllm.GenerateRequest(request_id=request_id, tokenized=vllm.TokenizedInput(input_ids=input_ids), stream=stream,
                                sampling_params=vllm.SamplingParams(**sampling))


def generate(stub, *args, **kwargs):
    """The messages of one answer."""
    return list(stub.Generate(request(*args, **kwargs), timeout=TIMEOUT_S))


def complete(stub, *args, **kwargs):
    """The one message of an answer that is not streamed."""
    (message,) = generate(stub, *args, **kwargs)
    return message.complete


class PageMirror:
    """What a subscriber to KV events knows: tokens by the hash of their page."""

    def __init__(self):
        self.pages = {}
        self.sequence = 0

    def apply(self, batch):
        assert self.sequence == 0 or batch.sequence_number == self.sequence + 1, "a gap"
        self.sequence = batch.sequence_number
        for event in batch.events:
            if event.HasField("stored"):
                parent = event.stored.parent_block_hash if event.stored.HasField("parent_block_hash") else None
                assert parent is None or parent in self.pages, "a page was stored before its parent"
                for block in event.stored.blocks:
                    assert len(block.token_ids) == block.block_size
                    self.pages[block.block_hash] = tuple(block.token_ids)
            elif event.HasField("removed"):
                for block_hash in event.removed.block_hashes:
                    del self.pages[block_hash]
            else:
                self.pages.clear()

    def follow(self, batches, until):
        """Applies batches until `until(self)`."""
        while not until(self):
            self.apply(next(batches))
