"""Offers jobs at a rate of their own, whatever the server makes of them.

Called by test_overload.py.  A request that is due goes out on a free connection, or on a new one;
its time runs from when it was due, so that a server that is slow to read cannot hide it.  Without a
rate every connection posts again as soon as it has its answer: what comes back is the capacity.
It must never retry, and never look into the store.
"""

import asyncio
import json
import time

TICK = 0.005


class Answer:
    __slots__ = ("status", "seconds", "retry_after", "job_id")

    def __init__(self, status, seconds, retry_after, job_id):
        self.status, self.seconds = status, seconds
        self.retry_after, self.job_id = retry_after, job_id


class Link(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, load):
        self.load = load
        self.transport = None
        self.due = None
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport
        self.load.freed(self)

    def send(self, request, due):
        self.due = due
        self.transport.write(request)

    def data_received(self, data):
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        if len(body) < int(headers["content-length"]):
            return
        self.received = b""
        status = int(lines[0].split()[1])
        job_id = json.loads(body)["job_id"] if status == 201 else None
        self.load.answers.append(Answer(status, time.monotonic() - self.due,
                                        headers.get("retry-after"), job_id))
        self.due = None
        self.load.freed(self)

    def connection_lost(self, error):
        if self.due is not None:
            self.load.n_broken += 1


class OpenLoop:
    """`rate` requests a second for `seconds`; `rate` None: `connections` at once, again and again."""

    def __init__(self, address, seconds, rate=None, connections=64, most=6000, **fields):
        self.address, self.seconds, self.rate = address, seconds, rate
        self.connections, self.most, self.fields = connections, most, fields
        self.answers, self.free = [], []
        self.n_sent = self.n_broken = self.n_links = 0
        self.is_over = False

    def request(self):
        body = json.dumps({"prompt": f"open loop {self.n_sent}", **self.fields}).encode()
        return (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)) + body

    def freed(self, link):
        if self.rate is None and not self.is_over:
            self.send(link, time.monotonic())
        else:
            self.free.append(link)

    def send(self, link, due):
        self.n_sent += 1
        link.send(self.request(), due)

    async def connect(self):
        self.n_links += 1
        await asyncio.get_running_loop().create_connection(lambda: Link(self), *self.address)

    async def offer(self):
        """Sends what is due; opens connections ahead, half as many again as were in use at most."""
        began = time.monotonic()
        n_due = 0
        while (now := time.monotonic()) < began + self.seconds:
            target = int((now - began) * self.rate)
            while n_due < target and self.free:
                self.send(self.free.pop(), began + n_due / self.rate)
                n_due += 1
            missing = target - n_due
            if missing and self.n_links < self.most:
                await asyncio.gather(*(self.connect() for _ in
                                       range(min(missing, 200, self.most - self.n_links))))
                continue
            await asyncio.sleep(TICK)

    async def run_async(self):
        await asyncio.gather(*(self.connect() for _ in range(self.connections)))
        if self.rate is None:
            await asyncio.sleep(self.seconds)
        else:
            await self.offer()
        self.is_over = True
        until = time.monotonic() + 10
        while len(self.answers) + self.n_broken < self.n_sent and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for link in self.free:
            link.transport.close()

    def run(self):
        asyncio.run(self.run_async())
        return self

    def of(self, *statuses):
        return [answer for answer in self.answers if answer.status in statuses]

    def accepted_a_second(self):
        return len(self.of(201)) / self.seconds


def percentile(values, percent):
    """The value below which `percent` of `values` are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
