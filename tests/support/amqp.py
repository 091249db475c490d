"""A small AMQP 0-9-1 client in the standard library, for looking at a broker from outside.

Called by the server starter (is the broker ready?) and by the scenario checkers (how deep is the
queue, which events went out?).  It shares no code with the product, so that a mistake in the
product's client cannot hide itself here.  It must never be used to make the product work, only
to watch it.
"""

import collections
import socket
import struct
import time
import urllib.parse

METHOD, HEADER, BODY, HEARTBEAT, END = 1, 2, 3, 8, 0xCE
FRAME_MAX = 131072


class AmqpError(Exception):
    """The broker closed the channel or the connection; carries the reply code and text."""


def _short(text):
    data = text.encode()
    return bytes([len(data)]) + data


def _long(data):
    return struct.pack(">I", len(data)) + data


class Connection:
    """One connection with one channel, blocking.  Close it, or use it as a context manager."""

    def __init__(self, url, timeout=10.0):
        parts = urllib.parse.urlsplit(url)
        vhost = urllib.parse.unquote(parts.path[1:]) or "/"
        user, password = parts.username or "guest", parts.password or "guest"
        self.deliveries = collections.deque()
        self.buffer = b""
        address = (parts.hostname, parts.port or 5672)
        self.socket = socket.create_connection(address, timeout=timeout)
        try:
            self._open(vhost, user, password)
        except BaseException:
            self.socket.close()
            raise

    def _open(self, vhost, user, password):
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._wait(10, 10)
        plain = f"\x00{user}\x00{password}".encode()
        self._send(0, 10, 11, _long(b"") + _short("PLAIN") + _long(plain) + _short("en_US"))
        self._wait(10, 30)
        self._send(0, 10, 31, struct.pack(">HIH", 2, FRAME_MAX, 0))
        self._send(0, 10, 40, _short(vhost) + _short("") + b"\x00")
        self._wait(10, 41)
        self._send(1, 20, 10, _short(""))
        self._wait(20, 11)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # -- what a checker asks ---------------------------------------------------------------

    def queue_depth(self, name):
        """(messages ready, consumers) of a queue that exists; AmqpError when it does not."""
        self._send(1, 50, 10, struct.pack(">H", 0) + _short(name) + b"\x01" + _long(b""))
        args = self._wait(50, 11)
        length = args[0]
        return struct.unpack_from(">II", args, 1 + length)

    def delete_queue(self, name):
        self._send(1, 50, 40, struct.pack(">H", 0) + _short(name) + b"\x00")
        self._wait(50, 41)

    def purge_queue(self, name):
        """Throws away what is ready in a queue; returns how many messages that were."""
        self._send(1, 50, 30, struct.pack(">H", 0) + _short(name) + b"\x00")
        return struct.unpack(">I", self._wait(50, 31))[0]

    def delete_exchange(self, name):
        self._send(1, 40, 20, struct.pack(">H", 0) + _short(name) + b"\x00")
        self._wait(40, 21)

    def listen(self, exchange, key="#", exchange_type="topic"):
        """Binds a queue of our own to an exchange (declared if need be) and consumes it."""
        declare = struct.pack(">H", 0) + _short(exchange) + _short(exchange_type) + b"\x02"
        self._send(1, 40, 10, declare + _long(b""))
        self._wait(40, 11)
        self._send(1, 50, 10, struct.pack(">H", 0) + _short("") + b"\x0c" + _long(b""))
        args = self._wait(50, 11)
        queue = args[1 : 1 + args[0]].decode()
        bind = struct.pack(">H", 0) + _short(queue) + _short(exchange) + _short(key) + b"\x00"
        self._send(1, 50, 20, bind + _long(b""))
        self._wait(50, 21)
        consume = struct.pack(">H", 0) + _short(queue) + _short("") + b"\x02" + _long(b"")
        self._send(1, 60, 20, consume)
        self._wait(60, 21)

    def next_event(self, timeout=5.0):
        """The next (routing key, body bytes) that was delivered, or None after `timeout`."""
        deadline = time.monotonic() + timeout
        while not self.deliveries:
            if time.monotonic() >= deadline:
                return None
            try:
                self._frame(deadline)
            except socket.timeout:
                return None
        return self.deliveries.popleft()

    def publish(self, exchange, key, body):
        """Publishes bytes; used to put rubbish where the product expects its own messages."""
        self._send(1, 60, 40, struct.pack(">H", 0) + _short(exchange) + _short(key) + b"\x00")
        self._raw(HEADER, 1, struct.pack(">HHQH", 60, 0, len(body), 0))
        for at in range(0, len(body), FRAME_MAX - 8):
            self._raw(BODY, 1, body[at : at + FRAME_MAX - 8])

    # -- frames -----------------------------------------------------------------------------

    def _raw(self, kind, channel, payload):
        head = struct.pack(">BHI", kind, channel, len(payload))
        self.socket.sendall(head + payload + bytes([END]))

    def _send(self, channel, klass, method, args):
        self._raw(METHOD, channel, struct.pack(">HH", klass, method) + args)

    def _read(self, size, deadline):
        while len(self.buffer) < size:
            if deadline is not None:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise AmqpError("the broker closed the connection")
            self.buffer += data

    def _frame(self, deadline=None):
        self._read(7, deadline)
        kind, _, size = struct.unpack_from(">BHI", self.buffer)
        self._read(8 + size, deadline)
        payload, self.buffer = self.buffer[7 : 7 + size], self.buffer[8 + size :]
        if kind != METHOD:
            self._content(kind, payload)
            return None
        klass, method = struct.unpack_from(">HH", payload)
        args = payload[4:]
        if (klass, method) == (60, 60):
            self._deliver(args)
            return None
        if (klass, method) in ((10, 50), (20, 40)):
            code, length = struct.unpack_from(">HB", args)
            raise AmqpError(f"{code} {args[3 : 3 + length].decode()}")
        return klass, method, args

    def _deliver(self, args):
        at = 1 + args[0] + 9
        at += 1 + args[at]
        self.key = args[at + 1 : at + 1 + args[at]].decode()

    def _content(self, kind, payload):
        if kind == HEADER:
            (self.left,) = struct.unpack_from(">Q", payload, 4)
            self.body = b""
        elif kind == BODY:
            self.body += payload
            self.left -= len(payload)
        else:
            return
        if self.left == 0:
            self.deliveries.append((self.key, self.body))

    def _wait(self, klass, method):
        while True:
            got = self._frame()
            if got and got[:2] == (klass, method):
                return got[2]
