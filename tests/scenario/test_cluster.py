"""A quorum queue over three RabbitMQ nodes: one is killed and another restarted under work."""

import time

import amqp
import pytest
import servers as server_kinds


@pytest.fixture(name="nodes")
def three_nodes(request):
    if not request.config.getoption("--full"):
        pytest.skip("three RabbitMQ nodes take a minute and a half: --full")
    nodes = server_kinds.RabbitMQ.cluster(3)
    yield nodes
    for node in reversed(nodes):
        node.remove()


def submit(site, count, prompt):
    """Posts, as clients do: again until it is accepted; the ids."""
    ids = []
    while len(ids) < count:
        answer = site.api.post("/v1/jobs", {"prompt": f"{prompt} {len(ids)}"})
        if answer.status == 201:
            ids.append(answer.json()["job_id"])
        else:
            assert answer.status == 503
            time.sleep(0.1)
    return ids


def flows_within(site, seconds):
    began = time.monotonic()
    assert site.api.run("does it flow?")["status"] == "COMPLETED"
    assert time.monotonic() - began < seconds


def test_one_node_dies_and_another_restarts(served, nodes):
    count = 500
    served.settings["RABBITMQ_URL"] = ",".join(node.url() for node in nodes)
    served.start()
    ids = submit(served, count, "all three")
    assert served.api.wait(ids[-1], 30)["status"] == "COMPLETED"

    nodes[0].kill9()  # the one that both programs are connected to
    ids += submit(served, count, "two")
    flows_within(served, 10)
    nodes[0].start()
    nodes[1].stop()
    ids += submit(served, count, "another two")
    flows_within(served, 10)
    nodes[1].start()
    ids += submit(served, count, "three again")
    flows_within(served, 10)

    assert {served.api.wait(job_id, 60)["status"] for job_id in ids} == {"COMPLETED"}
    doubles = served.sql("SELECT count(*) FROM jobs WHERE status <> 'COMPLETED' OR attempt > 1")
    assert doubles == [["0"]]
    with amqp.Connection(nodes[2].url()) as connection:
        assert connection.queue_depth(served.queue)[0] == 0
