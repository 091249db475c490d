#!/usr/bin/env python3
"""Writes down every domain event that reaches RabbitMQ: events.jsonl of a fault run.

Started by stage.py before any program of ours.  Its queue is durable and bound to the exchange
before the first event, and it acknowledges what it has written, so that an event which the broker
took responsibility for is in the file even if the broker is killed in between; an event may be
there twice.  It must never declare or touch a queue of the product.

    tests/fault/events.py amqp://guest:guest@127.0.0.1:5672/ ai_events events.jsonl
"""

import json
import pathlib
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import amqp  # noqa: E402

QUEUE = "fault_suite_events"
PREFETCH = 500
DURABLE = b"\x02"
# Properties of a message in the order of their flags (bit 15 first), and how each is written.
PROPERTIES = (("content_type", "s"), ("content_encoding", "s"), ("headers", "t"),
              ("delivery_mode", "b"), ("priority", "b"), ("correlation_id", "s"),
              ("reply_to", "s"), ("expiration", "s"), ("message_id", "s"))


def message_id(payload):
    """The message id in a content header frame, or None."""
    (flags,) = struct.unpack_from(">H", payload, 12)
    at = 14
    for bit, (name, kind) in zip(range(15, -1, -1), PROPERTIES):
        if not flags & 1 << bit:
            continue
        size = {"b": 1, "s": 1 + payload[at],
                "t": 4 + struct.unpack_from(">I", payload[at:at + 4].ljust(4, b"\0"))[0]}[kind]
        if name == "message_id":
            return payload[at + 1:at + size].decode()
        at += size
    return None


class Listener(amqp.Connection):
    """A connection that consumes with acknowledgements from a queue that outlives it."""

    def begin(self, exchange):
        declare = struct.pack(">H", 0) + amqp._short(exchange) + amqp._short("topic") + DURABLE
        self._send(1, 40, 10, declare + amqp._long(b""))
        self._wait(40, 11)
        self._send(1, 50, 10, struct.pack(">H", 0) + amqp._short(QUEUE) + DURABLE + amqp._long(b""))
        self._wait(50, 11)
        self._send(1, 50, 20, struct.pack(">H", 0) + amqp._short(QUEUE) + amqp._short(exchange)
                   + amqp._short("job.#") + b"\x00" + amqp._long(b""))
        self._wait(50, 21)
        self._send(1, 60, 10, struct.pack(">IHB", 0, PREFETCH, 0))
        self._wait(60, 11)
        self._send(1, 60, 20, struct.pack(">H", 0) + amqp._short(QUEUE) + amqp._short("")
                   + b"\x00" + amqp._long(b""))
        self._wait(60, 21)

    def _deliver(self, args):
        super()._deliver(args)
        (self.tag,) = struct.unpack_from(">Q", args, 1 + args[0])

    def _content(self, kind, payload):
        if kind == amqp.HEADER:
            self.message = message_id(payload)
        elif kind == amqp.HEARTBEAT:
            self._raw(amqp.HEARTBEAT, 0, b"")
        before = len(self.deliveries)
        super()._content(kind, payload)
        if len(self.deliveries) > before:
            self.deliveries[-1] += (self.message, self.tag)

    def acknowledge(self, tag):
        """This delivery and all before it."""
        self._send(1, 60, 80, struct.pack(">QB", tag, 1))


def parsed(body):
    """The document, or the text where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def record(connection, out):
    """Writes what is delivered until the connection ends; acknowledges it in batches."""
    unacknowledged = None
    count = 0
    while True:
        delivered = connection.next_event(0.2 if unacknowledged else 5.0)
        if delivered:
            key, body, identifier, unacknowledged = delivered
            out.write(json.dumps({"t": round(time.time(), 4), "routing_key": key,
                                  "message_id": identifier, "body": parsed(body)}) + "\n")
            count += 1
        if unacknowledged and (not delivered or count >= PREFETCH // 4):
            out.flush()
            connection.acknowledge(unacknowledged)
            unacknowledged, count = None, 0


def main(url, exchange, path):
    with open(path, "a", encoding="utf-8") as out:
        while True:
            try:
                with Listener(url, timeout=5.0) as connection:
                    connection.begin(exchange)
                    print("listening", flush=True)
                    record(connection, out)
            except (OSError, amqp.AmqpError, socket.timeout, struct.error, IndexError):
                out.flush()
                time.sleep(0.3)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
