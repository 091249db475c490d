#!/usr/bin/env python3
"""A model server for the case first-token: speaks OpenAI's streaming, and each token is the time at which
it was written (`@` and nanoseconds of the machine's monotonic clock), so that whoever reads it knows how long it
took. Prints its port.

    token_server.py TOKENS WAIT_MS EVERY_MS     so many tokens, the first after a while, then one by one
"""

import asyncio
import json
import sys
import time

TOKENS, WAIT, EVERY = int(sys.argv[1]), int(sys.argv[2]) / 1000, int(sys.argv[3]) / 1000
HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")


def chunk(**fields):
    event = b"data: " + json.dumps(fields).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def token(text, finish=None):
    delta = {"content": text} if text else {}
    return chunk(id="x", model="bench", choices=[{"index": 0, "delta": delta,
                                                  "finish_reason": finish}])


async def answer(writer):
    writer.write(HEAD + chunk(id="x", model="bench", choices=[
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]))
    await asyncio.sleep(WAIT)
    due = time.monotonic()
    for _ in range(TOKENS):
        writer.write(token(f"@{time.monotonic_ns()}"))
        due += EVERY
        await asyncio.sleep(max(0, due - time.monotonic()))
    writer.write(token("", "stop"))
    writer.write(chunk(id="x", model="bench", choices=[],
                       usage={"prompt_tokens": 1, "completion_tokens": TOKENS}))
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            at = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[at:].split(b"\r\n", 1)[0]))
            await answer(writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
