#!/usr/bin/env python3
"""A TCP proxy that breaks connections on request: every link of the fault suite goes through it.

Started by stage.py, which tells it the links on the command line and their faults at run time, a
JSON object a line on standard input, each answered by a line on standard output:

    tests/fault/proxy.py "worker-1>postgres=20001:5432" "clients>gateway-1=20002:8000"
    {"links": "worker-*>postgres", "mode": "delay", "ms": 80}

What a mode does to the links whose names match the pattern, until the next one:

    pass      forwards (the beginning, and the end of every fault)
    cut       resets all connections once; new ones are forwarded
    refuse    resets all connections and refuses new ones
    delay     each piece arrives `ms` later, in order
    throttle  `rate` bytes a second, each way of each connection
    hold      nothing arrives; all of it does once the mode ends, as after a short partition
    swallow   what is sent is lost and nobody is told (`way`: both, up, down); connections that lost
              something are reset when the mode ends, for what comes later would be out of place

`up` is from the client of the link to its server.  Swallowing the way down is the fault in which it
happened but the caller never hears.  It must never keep more than a bounded amount of what it
forwards: a side that reads slowly stops the other from sending.
"""

import asyncio
import collections
import fnmatch
import json
import socket
import struct
import sys

MOST_PENDING = 256 * 1024  # bytes on their way through one direction before its source must wait
PASS = {"mode": "pass"}


class Side(asyncio.Protocol):
    """One end of a forwarded connection.  What it receives goes out at its peer."""

    def __init__(self, pair, way):
        self.pair = pair
        self.way = way
        self.loop = asyncio.get_running_loop()
        self.transport = None
        self.peer = None
        self.pending = collections.deque()  # (when, data) to be written to the peer
        self.pending_bytes = 0
        self.ready_at = 0.0
        self.timer = None
        self.blocked = False  # the peer's transport has no room
        self.paused = False
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport
        link = transport.get_extra_info("socket")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pair.side_made(self)

    def data_received(self, data):
        mode = self.pair.link.mode
        if mode["mode"] == "swallow" and mode.get("way", "both") in ("both", self.way):
            self.pair.has_lost = True
            return
        self.ready_at = max(self.ready_at, self.loop.time())
        if mode["mode"] == "delay":
            self.ready_at = max(self.ready_at, self.loop.time() + mode["ms"] / 1000)
        elif mode["mode"] == "throttle":
            self.ready_at += len(data) / mode["rate"]
        is_due = self.ready_at <= self.loop.time() and mode["mode"] != "hold"
        # Some versions of asyncio read before the other side is open, although told not to.
        if is_due and not self.pending and self.pair.is_open():
            self.deliver(data)
            return
        self.pending.append((self.ready_at, data))
        self.pending_bytes += len(data)
        self.forward()

    def deliver(self, data):
        if not self.peer.transport.is_closing():
            self.peer.transport.write(data)
        self.balance()

    def forward(self):
        """Delivers what is due, sets a timer for the rest, and lets the source wait if need be."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        held = self.pair.link.mode["mode"] == "hold"
        if self.peer and self.peer.transport and not held:
            now = self.loop.time()
            while self.pending and self.pending[0][0] <= now:
                data = self.pending.popleft()[1]
                self.pending_bytes -= len(data)
                self.deliver(data)
            if self.pending:
                self.timer = self.loop.call_at(self.pending[0][0], self.forward)
        if self.lost and not self.pending and not held:
            self.pair.end_of(self)
        self.balance()

    def balance(self):
        """Reads only while there is room for what is read."""
        if not self.transport or self.transport.is_closing():
            return
        full = self.blocked or self.pending_bytes > MOST_PENDING or not self.pair.is_open()
        if full != self.paused:
            self.paused = full
            (self.transport.pause_reading if full else self.transport.resume_reading)()

    def pause_writing(self):
        if self.peer:
            self.peer.blocked = True
            self.peer.balance()

    def resume_writing(self):
        if self.peer:
            self.peer.blocked = False
            self.peer.balance()

    def connection_lost(self, _):
        self.lost = True
        if self.pair.link.mode["mode"] == "swallow":
            self.pair.has_lost = True  # the other end is not told, either
        else:
            self.forward()


class Pair:
    """Both sides of one forwarded connection."""

    def __init__(self, link):
        self.link = link
        self.near = Side(self, "up")
        self.far = Side(self, "down")
        self.has_lost = False

    def is_open(self):
        return self.far.transport is not None

    def side_made(self, side):
        if side is self.near:
            self.link.pairs.add(self)
            self.near.balance()
            self.task = asyncio.ensure_future(self.connect())
        else:
            self.near.peer, self.far.peer = self.far, self.near
            self.near.forward()
            self.far.forward()

    async def connect(self):
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self.far, "127.0.0.1", self.link.target)
        except OSError:
            self.reset()

    def end_of(self, side):
        """A side has ended and everything it said has been passed on."""
        other = self.far if side is self.near else self.near
        if other.transport and not other.lost:
            other.transport.close()
        if self.near.lost and (self.far.lost or not self.far.transport):
            self.link.pairs.discard(self)

    def reset(self):
        for side in (self.near, self.far):
            if side.timer:
                side.timer.cancel()
                side.timer = None
            side.pending.clear()
            side.pending_bytes = 0
            if side.transport and not side.lost:
                end = side.transport.get_extra_info("socket")
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
                side.transport.abort()
        self.link.pairs.discard(self)


class Link:
    """A port of ours, the server behind it, and what is done to what passes."""

    def __init__(self, text):
        self.name, _, ports = text.partition("=")
        self.port, self.target = map(int, ports.split(":"))
        self.mode = PASS
        self.pairs = set()
        self.server = None

    async def listen(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Pair(self).near, "127.0.0.1", self.port,
                                               backlog=1024, reuse_address=True)

    def reset_all(self, which=lambda pair: True):
        for pair in [pair for pair in self.pairs if which(pair)]:
            pair.reset()

    async def set_mode(self, mode):
        before, self.mode = self.mode, (PASS if mode["mode"] == "cut" else mode)
        if mode["mode"] in ("cut", "refuse"):
            self.reset_all()
        if before["mode"] == "swallow":
            self.reset_all(lambda pair: pair.has_lost)
        if mode["mode"] == "refuse" and self.server:
            self.server.close()
            self.server = None
        elif mode["mode"] != "refuse" and not self.server:
            await self.listen()
        for pair in list(self.pairs):
            pair.near.forward()
            pair.far.forward()


async def obey(links, line):
    order = json.loads(line)
    pattern = order.pop("links")
    found = [link for link in links if fnmatch.fnmatchcase(link.name, pattern)]
    for link in found:
        await link.set_mode(order)
    return {"links": [link.name for link in found],
            "connections": sum(len(link.pairs) for link in links)}


async def main(texts):
    links = [Link(text) for text in texts]
    for link in links:
        await link.listen()
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print(json.dumps({"ready": len(links)}), flush=True)
    while line := await orders.readline():
        try:
            answer = await obey(links, line)
        except (KeyError, OSError, ValueError) as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
