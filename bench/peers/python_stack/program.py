"""`python -m program COMMAND '{…}'`: the stack's programs other than its gateway, and a clock.

Started by peer.py; the last line printed is the figures as JSON.
"""

import asyncio
import json
import os
import sys
import time
import uuid

import aio_pika
import uvloop
from sqlalchemy import insert

import stack
import worker


async def schema(_options):
    settings = stack.Settings()
    await stack.create_schema(settings)
    connection = await aio_pika.connect(settings.rabbitmq_url)
    async with connection:
        await stack.declare_queue(await connection.channel(), settings)
    return {}


async def fill(options):
    """Queued jobs, in batches: not timed."""
    settings = stack.Settings()
    engine, sessions = stack.new_database(settings)
    connection = await aio_pika.connect(settings.rabbitmq_url)
    channel = await connection.channel(publisher_confirms=True)
    for first in range(0, options["n"], 1000):
        rows = [{"id": uuid.uuid4(), "prompt": f"Write a haiku, number {i}",
                 "config_name": "default-smart", "template_name": "default-assistant",
                 "status": stack.JobStatus.QUEUED}
                for i in range(first, min(first + 1000, options["n"]))]
        async with sessions.begin() as session:
            await session.execute(insert(stack.Job), rows)
        await asyncio.gather(*(
            channel.default_exchange.publish(stack.task_message(stack.Job(**row)),
                                             routing_key=settings.rabbitmq_task_queue)
            for row in rows))
    await connection.close()
    await engine.dispose()
    return {}


async def drain(options):
    engine = worker.Engine(stack.Settings())
    began = time.monotonic()
    await worker.consume(engine, lambda one: one.completed == options["n"])
    return {"seconds": time.monotonic() - began}


async def work(_options):
    await worker.consume(worker.Engine(stack.Settings()), None)
    return {}


def main():
    options = json.loads(sys.argv[2])
    os.environ.setdefault("OPENAI_API_KEY", "none")
    command = {"schema": schema, "fill": fill, "drain": drain, "work": work}[sys.argv[1]]
    print(json.dumps(uvloop.run(command(options))))


main()
