"""What Celery's users write: the application, its settings and its one task."""

import http.client
import json
import os
import urllib.parse

from celery import Celery

app = Celery("jobs", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.update(
    # Kept by the broker until the task has run; persistent and confirmed when it is published.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_delivery_mode="persistent",
    broker_transport_options={"confirm_publish": True},
    broker_pool_limit=64,
    # "Many short tasks": a large multiplier.
    worker_prefetch_multiplier=128,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)

_models = None


def ask_model(prompt):
    """One call of the OpenAI Chat Completions API, on this process's open connection."""
    global _models
    base = urllib.parse.urlsplit(os.environ["MODEL_BASE_URL"])
    if _models is None:
        _models = http.client.HTTPConnection(base.netloc, timeout=30)
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": prompt}]})
    _models.request("POST", base.path + "/chat/completions", body,
                    {"Content-Type": "application/json", "Authorization": "Bearer none"})
    answer = _models.getresponse()
    said = json.loads(answer.read())
    return said["choices"][0]["message"]["content"]


@app.task
def prompt(text):
    if os.environ.get("MODEL_BASE_URL"):
        return ask_model(text)
    return f"answer to {len(text)} characters"
