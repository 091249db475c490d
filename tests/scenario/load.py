#!/usr/bin/env python3
"""Posts many jobs over keep-alive connections and writes down what it was told.

Called by test_delivery.py, and by hand:

    tests/scenario/load.py http://127.0.0.1:8000 --jobs 5000 --connections 64 --log load.jsonl

Each job has an Idempotency-Key; where no answer came (the server died, the connection broke) or
the answer was 503, the same request is sent again with the same key until one is given.  The log,
a JSON line for each answer, is all that the checker knows of what was promised.  It must never
look into the store.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
import urllib.parse


class LoadError(Exception):
    """The server answered something that no retry can mend."""


class Load:
    """One run: `jobs` jobs over `connections` connections."""

    def __init__(self, url, jobs, connections, log_path, fields=None, give_up_after=120.0):
        self.address = urllib.parse.urlsplit(url)
        self.numbers = iter(range(jobs))
        self.jobs = jobs
        self.connections = connections
        self.log = open(log_path, "w", encoding="utf-8")
        self.fields = fields or {}
        self.deadline = time.monotonic() + give_up_after
        self.run_id = f"{time.time_ns():x}"
        self.accepted = 0
        self.errors = 0

    async def run(self):
        """Returns when every job has an answer."""
        await asyncio.gather(*(self.connection() for _ in range(self.connections)))
        self.log.close()

    async def reached(self, number):
        """Returns once `number` jobs were accepted."""
        while self.accepted < number:
            await asyncio.sleep(0.005)

    async def connection(self):
        link = None
        for number in self.numbers:
            prompt = f"load {self.run_id} number {number}"
            request = self.request(f"{self.run_id}-{number}", prompt)
            for attempt in itertools.count(1):
                try:
                    link = link or await self.connect()
                    status, body, keep = await self.exchange(link, request)
                except (OSError, EOFError, asyncio.TimeoutError, ValueError):
                    link = self.hang_up(link)
                    status, body, keep = None, b"", True
                if not keep:
                    link = self.hang_up(link)
                if self.note(number, prompt, attempt, status, body):
                    break
                await asyncio.sleep(min(1.0, 0.02 * attempt))
        self.hang_up(link)

    @staticmethod
    def hang_up(link):
        if link:
            link[1].close()

    async def connect(self):
        opening = asyncio.open_connection(self.address.hostname, self.address.port)
        return await asyncio.wait_for(opening, 5)

    def request(self, key, prompt):
        body = json.dumps({"prompt": prompt, **self.fields}).encode()
        head = (f"POST /v1/jobs HTTP/1.1\r\nHost: {self.address.netloc}\r\n"
                f"Content-Type: application/json\r\nIdempotency-Key: {key}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        return head.encode() + body

    @staticmethod
    async def exchange(link, request):
        reader, writer = link
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        lines = head.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 30)
        return int(lines[0].split()[1]), body, headers.get("connection") != "close"

    def note(self, number, prompt, attempt, status, body):
        """Writes an answer down; true when the job needs no further one."""
        job_id = json.loads(body)["job_id"] if status in (200, 201) else None
        line = {"number": number, "prompt": prompt, "key": f"{self.run_id}-{number}",
                "attempt": attempt, "status": status, "job_id": job_id, "time": time.time()}
        self.log.write(json.dumps(line) + "\n")
        if job_id:
            self.accepted += 1
            return True
        self.errors += 1
        if status not in (None, 503):
            raise LoadError(f"status {status}: {body[:300]!r}")
        if time.monotonic() > self.deadline:
            raise LoadError(f"no answer for job {number} after {attempt} attempts")
        return False


def read_log(path):
    """The answers of a run."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--log", default="load.jsonl")
    parser.add_argument("--config", help="config_name of the jobs")
    args = parser.parse_args()
    fields = {"config_name": args.config} if args.config else {}
    load = Load(args.url, args.jobs, args.connections, args.log, fields)
    began = time.monotonic()
    try:
        asyncio.run(load.run())
    except LoadError as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    print(f"{load.accepted} accepted in {seconds:.2f} s, {load.accepted / seconds:.0f} a second, "
          f"{load.errors} sent again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
