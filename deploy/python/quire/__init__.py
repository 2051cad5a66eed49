"""Client of the Quire server.

    import quire

    with quire.Client("127.0.0.1:50051") as client:
        for part in client.chat("Name three rivers.", temperature=0):
            print(part.text, end="", flush=True)

AsyncClient is the same for asyncio. What goes wrong is raised as an Error, with the field at fault or the delay after
which to try again.
"""

from quire.aio import AsyncClient, AsyncStream
from quire.client import Client, Stream
from quire.errors import DeadlineExceeded, Error, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from quire.requests import Message, Messages, SamplingParams
from quire.responses import Answer, Model, Part, Stats, Timings, TokenLogprob, Usage

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "DeadlineExceeded",
    "Error",
    "InvalidArgument",
    "Message",
    "Messages",
    "Model",
    "NotFound",
    "Part",
    "ResourceExhausted",
    "SamplingParams",
    "Stats",
    "Stream",
    "Timings",
    "TokenLogprob",
    "Unavailable",
    "Usage",
]
