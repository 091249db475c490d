#!/usr/bin/env python3
"""Many clients as real ones behave, each keeping a log of every answer it saw: clients.jsonl.

Started by stage.py; ends after a line on standard input (or its end) once every client is done
with what it was at.  A client posts a job, with or without an Idempotency-Key; where no answer came
or the answer was 429 or 5xx it sends the same again with growing pauses (with a key: until it has
an answer or has lost patience), sometimes at the other gateway; then it waits, polls, cancels,
lists, posts the same key again, or goes away.  At each gateway a probe posts a small job several
times a second and waits for it; from these the recovery times are computed.  The load is open,
`--rate` jobs a second, but never more than MOST_CLIENTS at once.  It must never look into the store.

    tests/fault/load.py --rate 60 --seed 1 --log clients.jsonl http://127.0.0.1:8000 http://…
"""

import argparse
import asyncio
import collections
import hashlib
import http
import json
import random
import sys
import time
import urllib.parse

MOST_CLIENTS = 600
BURST_CLIENTS = 40
PROBES_A_SECOND = 4  # at each gateway
PATIENCE = 90.0      # seconds after which a client no longer tries to have its job accepted
ENDED = ("COMPLETED", "FAILED", "CANCELLED")
NO_ANSWER = (OSError, EOFError, asyncio.TimeoutError, ValueError)

# Weight, name, what the job asks of the model server in the words of tests/support/model_server.py,
# and the fields it is posted with.
KINDS = (
    (60, "plain", "", {}),
    (8, "slow", "[[slow 400]]", {}),
    (3, "long", "[[slow 6000]]", {}),
    (8, "retried", "[[error 503 first 4]]", {"max_attempts": 4, "retry_delay": 1}),
    (4, "cut off", "[[disconnect first 4]]", {"max_attempts": 5, "retry_delay": 0}),
    (3, "refused", "[[error 400]]", {}),
    (2, "exhausted", "[[error 500]]", {"max_attempts": 2, "retry_delay": 0}),
    (8, "delayed", "", {"delay": 2}),
    (4, "much later", "", {"delay": 9}),
)


class Connections:
    """Keep-alive connections of one client, one at a time to each gateway."""

    def __init__(self):
        self.open = {}

    async def exchange(self, url, method, path, headers, body, timeout):
        """(status, headers, document); raises one of NO_ANSWER."""
        link = self.open.pop(url, None)
        try:
            async with asyncio.timeout(timeout):
                if link is None:
                    address = urllib.parse.urlsplit(url)
                    link = await asyncio.open_connection(address.hostname, address.port)
                head = [f"{method} {path} HTTP/1.1", "Host: gateway"]
                head += [f"{name}: {value}" for name, value in headers.items()]
                if body is not None:
                    head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
                link[1].write("\r\n".join(head).encode() + b"\r\n\r\n" + (body or b""))
                answer = await self.answer(link[0])
        except BaseException:
            if link:
                link[1].transport.abort()
            raise
        if answer[1].get("connection", "").lower() == "close":
            link[1].close()
        else:
            self.open[url] = link
        return answer

    @staticmethod
    async def answer(reader):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return status, headers, json.loads(body) if body else {}

    def close(self):
        for _, writer in self.open.values():
            writer.close()
        self.open.clear()


class Client:
    """One client, which is busy with one job at a time."""

    def __init__(self, load, name):
        self.load = load
        self.name = name
        self.connections = Connections()

    async def ask(self, op, gateway, method, path, job, body=None, timeout=10.0, **more):
        """One request, written to the log at its end; (status, headers, document) or None."""
        headers = {"Idempotency-Key": job["key"]} if op == "post" and job["key"] else {}
        entry = {"t0": time.time(), "client": self.name, "op": op, "gateway": gateway,
                 "marker": job["marker"], "key": job["key"], "http": None,
                 "job_id": job.get("id"), "status": None, "result": None, "error": None,
                 **more}
        answer = None
        try:
            answer = await self.connections.exchange(self.load.gateways[gateway], method, path,
                                                     headers, body, timeout)
        except NO_ANSWER as error:
            entry["error"] = type(error).__name__
        if op == "post":
            entry["body"] = hashlib.sha256(body).hexdigest()[:16]
        if answer:
            status, heard, document = answer
            entry["http"] = status
            if op == "list":
                entry["jobs"] = [[one["job_id"], one["status"]] for one in document.get("jobs", ())]
            else:
                if op == "post" and status < 300:
                    entry["replayed"] = heard.get("idempotency-replayed") == "true"
                entry["job_id"] = document.get("job_id", entry["job_id"])
                entry["status"] = document.get("status") if status < 300 else None
                entry["result"] = document.get("result")
                entry["error"] = document.get("error_code") or document.get("detail")
        self.load.write(entry)
        return answer

    async def live(self, job, rng):
        """The life of a client: has its job accepted, then does with it what it came for."""
        try:
            if not await self.submit(job, rng):
                return
            errand = rng.random()
            if errand < 0.45:
                await self.wait_for_end(job, rng)
            elif errand < 0.60:
                await self.poll(job, rng)
            elif errand < 0.66:
                await self.cancel(job, rng)
            elif errand < 0.72 and job["key"]:
                await self.submit_again(job, rng)
            elif errand < 0.74 and job["key"]:
                await self.submit_another(job, rng)
            elif errand < 0.76:
                await self.ask("list", rng.randrange(self.load.size), "GET",
                               f"/v1/jobs?limit={rng.choice((1, 20, 100))}", job)
        finally:
            self.connections.close()

    async def submit(self, job, rng):
        """True once the job is accepted."""
        deadline = time.monotonic() + PATIENCE
        gateway = rng.randrange(self.load.size)
        tries = 0
        while True:
            answer = await self.ask("post", gateway, "POST", "/v1/jobs", job, job["body"])
            if answer and answer[0] == http.HTTPStatus.CREATED:
                job["id"] = answer[2]["job_id"]
                return True
            if answer and answer[0] < 500 and answer[0] != http.HTTPStatus.TOO_MANY_REQUESTS:
                return False
            tries += 1
            if time.monotonic() > deadline or (not job["key"] and tries >= job["tries"]):
                return False
            pause = min(5.0, 0.1 * 2 ** tries) * rng.uniform(0.5, 1.0)
            asked = answer[1].get("retry-after") if answer else None
            await asyncio.sleep(max(pause, float(asked) if asked else 0.0))
            gateway = (gateway + rng.randrange(self.load.size)) % self.load.size

    async def submit_again(self, job, rng):
        """The same request under the same key, at every gateway at once."""
        await asyncio.sleep(rng.uniform(0.0, 3.0))
        others = [Client(self.load, f"{self.name}.{number}") for number in range(self.load.size)]
        await asyncio.gather(*(one.ask("post", number, "POST", "/v1/jobs", dict(job), job["body"])
                               for number, one in enumerate(others)))
        for one in others:
            one.connections.close()

    async def submit_another(self, job, rng):
        """Another request under the same key, which must be refused."""
        document = json.loads(job["body"])
        document["prompt"] += " (another)"
        await self.ask("post", rng.randrange(self.load.size), "POST", "/v1/jobs", dict(job),
                       json.dumps(document).encode())

    async def wait_for_end(self, job, rng):
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline and not self.load.stopping:
            seconds = rng.choice((1, 5, 20))
            answer = await self.ask("wait", rng.randrange(self.load.size), "GET",
                                    f"/v1/jobs/{job['id']}?wait={seconds}", job,
                                    timeout=seconds + 8.0, wait=seconds)
            if answer and answer[2].get("status") in ENDED:
                return
            if not answer or answer[0] != http.HTTPStatus.OK:
                await asyncio.sleep(rng.uniform(0.3, 1.0))

    async def poll(self, job, rng):
        for _ in range(12):
            await asyncio.sleep(rng.uniform(0.1, 1.5))
            answer = await self.ask("get", rng.randrange(self.load.size), "GET",
                                    f"/v1/jobs/{job['id']}", job)
            if answer and answer[2].get("status") in ENDED or self.load.stopping:
                return

    async def cancel(self, job, rng):
        await asyncio.sleep(rng.choice((0.0, 0.05, 0.5, 2.0)))
        for _ in range(5):
            answer = await self.ask("cancel", rng.randrange(self.load.size), "POST",
                                    f"/v1/jobs/{job['id']}/cancel", job)
            if answer and answer[0] in (http.HTTPStatus.OK, http.HTTPStatus.CONFLICT):
                break
            await asyncio.sleep(rng.uniform(0.2, 1.0))
        await asyncio.sleep(0.5)
        await self.ask("get", rng.randrange(self.load.size), "GET", f"/v1/jobs/{job['id']}", job)

    async def probe(self, job, gateway):
        """Posts once, waits long: what a probe finds out is how long that took."""
        try:
            answer = await self.ask("post", gateway, "POST", "/v1/jobs", job, job["body"], 5.0)
            if answer and answer[0] == http.HTTPStatus.CREATED:
                job["id"] = answer[2]["job_id"]
                await self.ask("wait", gateway, "GET", f"/v1/jobs/{job['id']}?wait=20", job,
                               timeout=25.0, wait=20)
        finally:
            self.connections.close()


class Load:
    """All clients, and the log they share."""

    def __init__(self, gateways, rate, seed, path, first=0):
        self.first = first
        self.gateways = gateways
        self.size = len(gateways)
        self.rate = rate
        self.rng = random.Random(seed)
        self.run = f"{seed:x}{int(time.time()):x}"
        self.log = open(path, "a", encoding="utf-8", buffering=1 << 16)
        self.stopping = False
        self.running = set()
        self.idle = collections.deque(f"c{number}" for number in range(MOST_CLIENTS))
        self.posted = self.skipped = 0

    def write(self, entry):
        entry["t1"] = round(time.time(), 4)
        entry["t0"] = round(entry["t0"], 4)
        self.log.write(json.dumps(entry) + "\n")

    def job(self, number, kinds=KINDS):
        rng = self.rng
        (_, kind, directive, fields), = rng.choices(kinds, [one[0] for one in kinds])
        marker = f"m{self.run}x{number}z"
        job = {"marker": marker, "kind": kind, "tries": rng.choice((1, 3, 8)),
               "key": f"key-{marker}" if rng.random() < 0.6 else None}
        prompt = f"{marker} {kind} {'word ' * rng.randrange(40)}{directive}"
        job["body"] = json.dumps({"prompt": prompt, "metadata": {"marker": marker},
                                  **fields}).encode()
        return job

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def client_life(self, name, number):
        try:
            await Client(self, name).live(self.job(number), random.Random(self.rng.random()))
        finally:
            self.idle.append(name)

    async def clients(self):
        """A new job each 1/rate seconds, at random distances."""
        due = time.monotonic()
        while not self.stopping:
            due = max(due + self.rng.expovariate(self.rate), time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not self.idle:
                self.skipped += 1
                continue
            self.posted += 1
            self.start(self.client_life(self.idle.popleft(), self.posted))

    async def probes(self, gateway):
        number = 0
        while not self.stopping:
            number += 1
            job = self.job(f"p{gateway}n{number}", ((1, "probe", "", {}),))
            job["key"] = f"key-{job['marker']}"
            self.start(Client(self, f"probe-{gateway}.{number % 256}").probe(job, gateway))
            await asyncio.sleep(1 / PROBES_A_SECOND)

    async def burst(self, jobs):
        """So many long jobs at once that every place in every worker is taken."""
        async def some(client, numbers):
            for number in numbers:
                job = self.job(f"b{number}", ((1, "burst", "[[slow 4000]]", {}),))
                await client.submit(job, random.Random(number))
            client.connections.close()
        await asyncio.gather(*(
            some(Client(self, f"burst-{first}"), range(first, jobs, BURST_CLIENTS))
            for first in range(BURST_CLIENTS)))

    async def flush(self):
        while True:
            await asyncio.sleep(1.0)
            self.log.flush()

    async def main(self):
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        flushing = asyncio.create_task(self.flush())
        if self.first:
            self.start(self.burst(self.first))
        sources = [asyncio.create_task(self.clients())]
        sources += [asyncio.create_task(self.probes(number)) for number in range(self.size)]
        print("running", flush=True)
        await orders.readline()
        self.stopping = True
        await asyncio.gather(*sources)
        while self.running:
            await asyncio.wait(self.running)
        flushing.cancel()
        self.log.close()
        print(json.dumps({"posted": self.posted, "skipped": self.skipped}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gateways", nargs="+", help="base URLs")
    parser.add_argument("--rate", type=float, default=60.0, help="jobs a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--burst", type=int, default=0, help="long jobs to begin with")
    parser.add_argument("--log", default="clients.jsonl")
    args = parser.parse_args()
    asyncio.run(Load(args.gateways, args.rate, args.seed, args.log, args.burst).main())


if __name__ == "__main__":
    main()
