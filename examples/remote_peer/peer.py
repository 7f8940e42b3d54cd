"""A remote peer: answers a network's questions about the next byte with any model folder in Hugging Face layout.

    python examples/remote_peer/peer.py MODEL --wallets DIR --wallet NAME --genesis HEX --keeper ADDRESS [--port 8092]

The model never leaves this machine. Only the network's keeper is answered: each question carries its signature, for
this hotkey, for a while, once. README.md beside this file says how to register the address.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actors.remote_wire import MOST_QUESTION_BYTES, Seen, answer_question, open_question
from actors.wire import WireError
from ledger.keys import Keypair, decode_address
from ledger.wallet import Wallet
from models.host.hosted import Hosted, load_hosted
from models.host.next_byte import next_byte

READ_S = 30.0
"""How long a question may take to arrive."""
AT_ONCE = 16
"""Connections that are held; more are turned away."""


def make_app(hosted: Hosted, hotkey: Keypair, *, genesis: bytes, keeper: bytes) -> Starlette:
    """The peer: one route, which answers one question at a time."""
    seen, model_is_free = Seen(), asyncio.Lock()

    async def answer(request: Request) -> Response:
        try:
            data = await asyncio.wait_for(read_body(request), READ_S)
            question = open_question(data, hotkey, genesis=genesis, asker=keeper, seen=seen)
        except (WireError, TimeoutError) as error:
            why = str(error) or f"the question did not arrive within {READ_S:g} s"
            print(f"refused: {why}", file=sys.stderr)
            return PlainTextResponse(why, status_code=400)
        async with model_is_free:
            said = await run_in_threadpool(next_byte, hosted, question.prefixes)
        print(f"epoch {question.query.epoch}: {len(said)} prefixes answered", file=sys.stderr)
        return Response(answer_question(question, said, hotkey), media_type="application/octet-stream")

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


async def read_body(request: Request) -> bytes:
    """The whole body. Raises WireError where it is larger than a question can be."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_QUESTION_BYTES:
            raise WireError(f"the question has more than {MOST_QUESTION_BYTES} bytes")
    return bytes(body)


def main() -> None:
    """Load the model and the key, and serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder with config.json and safetensors")
    parser.add_argument("--wallets", type=Path, required=True, help="the folder that holds the wallet")
    parser.add_argument("--wallet", required=True)
    parser.add_argument("--hotkey", default="default", help="the wallet's hotkey that is registered")
    parser.add_argument("--genesis", type=bytes.fromhex, required=True, help="the network's genesis hash")
    parser.add_argument("--keeper", type=decode_address, required=True, help="the address of the network's keeper")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8092)
    parser.add_argument("--device", default="cpu")
    told = parser.parse_args()
    hotkey = Wallet.open(told.wallets, told.wallet).hotkey(told.hotkey)
    app = make_app(load_hosted(told.model, told.device), hotkey, genesis=told.genesis, keeper=told.keeper)
    uvicorn.run(app, host=told.host, port=told.port, access_log=False, limit_concurrency=AT_ONCE)


if __name__ == "__main__":
    main()
