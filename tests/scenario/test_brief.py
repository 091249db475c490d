"""The calls of the product brief, pasted as they stand, give the brief's answers."""

import json
import re
import socket
import subprocess

SUBMIT = r'''
curl -X POST "http://localhost:8000/v1/jobs" \
  -H "Content-Type: application/json" \
  -d '{
    "prompt": "Write a haiku about programming",
    "config_name": "default-smart",
    "template_name": "default-assistant"
  }'
'''
STATUS = 'curl "http://localhost:8000/v1/jobs/550e8400-e29b-41d4-a716-446655440000"'
HEALTH = 'curl "http://localhost:8000/health"'
HAIKU = "Code flows like water\nBugs hide in the logic streams\nDebug brings clarity"


def port_8000_is_free():
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            return False
    return True


def paste(command, site):
    """Runs a call in a shell; only the port is another one where 8000 is taken."""
    command = command.replace(":8000/", f":{site.api.address[1]}/")
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def check_the_calls(site, model_server):
    model_server.rules({"text": HAIKU})
    accepted = paste(SUBMIT, site)
    assert accepted["status"] == "QUEUED"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", accepted["job_id"])
    site.api.wait(accepted["job_id"])
    job = paste(STATUS.replace("550e8400-e29b-41d4-a716-446655440000", accepted["job_id"]), site)
    assert job["job_id"] == accepted["job_id"]
    assert (job["status"], job["result"]) == ("COMPLETED", HAIKU)
    assert job["created_at"] <= job["updated_at"]
    health = paste(HEALTH, site)
    assert (health["status"], health["service"]) == ("healthy", "gateway")
    (call,) = model_server.calls()
    assert call["user"] == "Write a haiku about programming"
    assert call["model"] == "gpt-4-turbo-preview" and call["system"]


def test_calls_of_the_brief_on_dev(dev, model_server):
    if port_8000_is_free():
        dev.listener("aiplatctl", ["dev"], port=8000, AIPLAT_LISTEN=None)
    else:
        dev.start()
    check_the_calls(dev, model_server)


def test_calls_of_the_brief_on_servers(served, model_server):
    if port_8000_is_free():
        served.gateway(port=8000, AIPLAT_LISTEN=None)
    else:
        served.gateway()
    served.worker()
    check_the_calls(served, model_server)


def test_unknown_job_answers_like_the_original(dev):
    dev.start()
    answer = dev.api.get("/v1/jobs/550e8400-e29b-41d4-a716-446655440000")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "NOT_FOUND" and answer.json()["detail"]
