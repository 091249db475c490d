"""A broker that is killed, frozen, out of memory, or changed under us: what was confirmed is there,
every operation ends in time, and everything works again when the broker does."""

import itertools
import secrets
import struct
import subprocess
import time

import amqp
import pytest
import servers
from probe import Probe

DEADLINE_MS = 5000
_numbers = itertools.count(1)


class TlsRabbitMQ(servers.RabbitMQ):
    """RabbitMQ with a TLS listener beside the plain one, and certificates of its own making."""

    def prepare(self):
        super().prepare()
        self.tls_port = servers.free_port()
        for name in ("ca", "other"):
            self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                         f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout",
                     "server.key", "-out", "server.csr")
        (self.folder / "names").write_text("subjectAltName = DNS:localhost\n")
        self.openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")
        with open(self.folder / "rabbitmq.conf", "a") as conf:
            conf.write(f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
                       f"ssl_options.cacertfile = {self.folder}/ca.pem\n"
                       f"ssl_options.certfile = {self.folder}/server.pem\n"
                       f"ssl_options.keyfile = {self.folder}/server.key\n")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def tls_url(self, ca="ca", host="localhost"):
        return f"amqps://guest:guest@{host}:{self.tls_port}/?cacertfile={self.folder}/{ca}.pem"


@pytest.fixture(scope="module")
def shared_broker():
    with TlsRabbitMQ() as server:
        yield server


@pytest.fixture
def broker(shared_broker):
    yield shared_broker
    shared_broker.thaw()
    if not shared_broker.is_running():
        shared_broker.start()


class Place:
    """A task queue and an event exchange of a test's own, and the probes on them."""

    def __init__(self, broker, queue=None):
        self.broker = broker
        self.queue = queue or f"tasks-{next(_numbers)}-{secrets.token_hex(3)}"
        self.exchange = f"events-{self.queue}"
        self.probes = []

    def probe(self, url=None, **options):
        probe = Probe("queue_probe", url or self.broker.url(), self.queue, self.exchange, **options)
        self.probes.append(probe)
        return probe

    def connected(self, url=None):
        probe = self.probe(url)
        probe.until("connected", "connected 1", 60)
        return probe

    def look(self):
        return amqp.Connection(self.broker.url())

    def close(self):
        for probe in self.probes:
            if probe.process.poll() is None:
                probe.quit()


@pytest.fixture
def place(broker):
    place = Place(broker)
    yield place
    place.close()


@pytest.fixture(scope="module")
def old_queues(shared_broker):
    """Queues that were made some time ago.  RabbitMQ 3.10 forgets a quorum queue, and what it
    confirmed for it, when it is killed within seconds of the queue's making: the queue comes back
    empty and never elects a leader.  That is why the database, not the broker, has the jobs."""
    queues = [f"old-{number}-{secrets.token_hex(3)}" for number in range(3)]
    for queue in queues:
        place = Place(shared_broker, queue)
        place.connected()
        place.close()
    time.sleep(8)
    return queues


@pytest.fixture
def old_place(broker, old_queues):
    place = Place(broker, old_queues.pop())
    yield place
    place.close()


def confirmed(probe):
    return [line.split()[2] for line in probe.matching("published") if line.endswith(" ok")]


def delivered(probe):
    return [line.split()[1] for line in probe.matching("delivered")]


def milliseconds(lines):
    return [int(line.split()[1]) for line in lines]


def wait_until(condition, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def test_no_confirmed_task_is_lost_when_the_broker_is_killed(broker, old_place):
    probe = old_place.connected()
    probe.send("flow 300")
    for _ in range(2):
        count = len(confirmed(probe))
        wait_until(lambda: len(confirmed(probe)) > count + 3000)
        broker.kill9()
        time.sleep(0.5)
        broker.start()
    count = len(confirmed(probe))
    wait_until(lambda: len(confirmed(probe)) > count + 1000, 60)
    probe.send("flow 0")
    assert max(milliseconds(probe.matching("published"))) < DEADLINE_MS + 500
    probe.send("consume 200 ack")
    wait_until(lambda: set(confirmed(probe)) <= set(delivered(probe)), 60)


def test_consuming_survives_a_killed_broker(broker, old_place):
    probe = old_place.connected()
    probe.send("publish 100")
    probe.wait("published", 100)
    probe.send("consume 50 hold")
    probe.wait("delivered", 50)
    broker.kill9()
    probe.wait("lost")
    assert probe.ask("connected") == "connected 0"
    broker.start()
    probe.wait("delivered", 100, 60)
    # Mostly the first 50 again; others when the new consumer is there before the broker, catching up,
    # notices that the old one is not.
    assert len(set(delivered(probe)[50:])) == 50
    probe.send("stop", "consume 200 ack")
    wait_until(lambda: len(set(delivered(probe))) == 100)
    wait_until(lambda: old_place.look().queue_depth(old_place.queue)[0] == 0)


def test_frozen_broker_and_deadlines(broker, place):
    probe = place.connected()
    probe.send("consume 10 hold", "publish 1")
    probe.wait("delivered")
    broker.freeze()
    probe.send("publish 100")
    # More than the sockets can hold: the publisher's thread hangs in a send.
    probe.send("event 2500 4000", "event 2500 4000")
    began = time.monotonic()
    assert probe.ask("connected") and time.monotonic() - began < 0.5  # the loop goes on
    answers = probe.wait("published", 5101, 15)[1:]
    assert max(milliseconds(answers)) < DEADLINE_MS + 500
    assert not [line for line in answers if line.endswith(" ok")]
    assert probe.ask("ping").startswith("ping unavailable")
    probe.send("publish 10")
    late = probe.wait("published", 5111, 15)[5101:]
    assert max(milliseconds(late)) < DEADLINE_MS + 500
    broker.thaw()
    probe.until("ping", "ping ok", 40)
    mark = probe.mark()
    probe.send("publish 10")
    assert all(line.endswith(" ok") for line in probe.wait("published", 10, since=mark))
    probe.wait("delivered", 10)


def test_closes_while_the_broker_is_frozen(broker, place):
    probe = place.connected()
    probe.send("consume 10 hold")
    broker.freeze()
    probe.send("publish 10", "event 5000 4000")
    time.sleep(1)
    began = time.monotonic()
    probe.quit()
    assert time.monotonic() - began < 5
    assert len(probe.matching("published")) == 5010


def test_memory_alarm_blocks_publishing_but_not_consuming(broker, place):
    probe = place.connected()
    probe.send("publish 20")
    probe.wait("published", 20)
    broker.memory_alarm(True)
    try:
        probe.send("publish 5")
        probe.wait("log warning publishing is blocked")
        probe.send("publish 5")
        began = time.monotonic()
        assert "blocked" in probe.ask("ping")
        assert probe.ask("connected") == "connected 0"
        probe.send("consume 5 ack")
        probe.wait("delivered", 20)  # prefetch 5: the acknowledgements get through
        answers = probe.wait("published", 30)[20:]
        assert time.monotonic() - began < DEADLINE_MS / 1000 + 1
        assert not [line for line in answers if line.endswith(" ok")]
        assert len([line for line in answers if "blocked by the broker" in line]) >= 5
    finally:
        broker.memory_alarm(False)
    probe.until("ping", "ping ok")
    mark = probe.mark()
    probe.send("publish 5")
    assert all(line.endswith(" ok") for line in probe.wait("published", 5, since=mark))


def test_unroutable_task_fails_and_the_queue_is_declared_again(place):
    probe = place.connected()
    place.look().delete_queue(place.queue)
    probe.send("publish 3")
    answers = probe.wait("published", 3)
    # What arrives while the broker is still ending the queue is refused, the rest comes back.
    for _ in range(50):
        assert all("unavailable" in line for line in answers)
        refused = [line for line in answers if "basic.nack" in line]
        assert all(place.queue in line for line in answers if line not in refused)
        if not refused:
            break
        mark = probe.mark()
        probe.send("publish 1")
        answers = probe.wait("published", 1, since=mark)
    mark = probe.mark()
    probe.send("publish 3")
    assert all(line.endswith(" ok") for line in probe.wait("published", 3, since=mark))
    assert place.look().queue_depth(place.queue)[0] == 3
    assert probe.ask("ping") == "ping ok"


def test_queue_deleted_while_consuming(place):
    probe = place.connected()
    probe.send("consume 10 ack", "publish 1")
    probe.wait("delivered")
    place.look().delete_queue(place.queue)
    probe.wait("lost")
    probe.until("connected", "connected 1")
    probe.send("publish 3")
    probe.wait("delivered", 4)


def test_exchange_deleted_while_publishing(place):
    probe = place.connected()
    place.look().delete_exchange(place.exchange)
    probe.send("event 1 10")
    assert "unavailable" in probe.wait("published")[0]
    probe.until("connected", "connected 1")
    probe.send("event 1 10")
    assert probe.wait("published", 2)[1].endswith(" ok")


def test_events_reach_who_listens(place):
    probe = place.connected()
    with place.look() as listener:
        listener.listen(place.exchange, "job.*")
        probe.send("event 1 10")
        assert listener.next_event() == ("job.created", b"e" * 10)
        assert "unbound" not in probe.wait("published")[0]


def test_an_event_nobody_is_bound_to_says_so(place):
    probe = place.connected()
    probe.send("event 5 10")
    assert all(line.endswith(" - unbound ok") for line in probe.wait("published", 5))
    with place.look() as listener:
        listener.listen(place.exchange, "job.failed")
        probe.send("event 1 10")
        assert probe.wait("published", 6)[5].endswith(" - unbound ok")
        listener.listen(place.exchange, "job.*")
        probe.send("event 1 10")
        assert "unbound" not in probe.wait("published", 7)[6]
    assert place.look().queue_depth(place.queue)[0] == 0


def test_rubbish_in_the_queue_is_dropped(place):
    probe = place.connected()
    with place.look() as link:
        for body in (b"", b"rubbish", b"x" * 300000, b"0" * 36, b"\0" * 37):
            link.publish("", place.queue, body)
        probe.send("consume 2 ack", "publish 1")
        probe.wait("delivered")
        probe.wait("log warning dropped")  # once: what goes on is said again after a minute
        wait_until(lambda: link.queue_depth(place.queue)[0] == 0)


def test_redelivery_after_a_stop(place):
    probe = place.connected()
    probe.send("publish 5")
    probe.wait("published", 5)
    probe.send("consume 10 hold")
    first = probe.wait("delivered", 5)
    probe.send("stop")
    mark = probe.mark()
    other = place.connected()
    other.send("consume 10 ack")
    again = other.wait("delivered", 5)
    assert [line.split()[1] for line in again] == [line.split()[1] for line in first]
    assert all(line.endswith(" 1") for line in again)
    time.sleep(0.3)
    assert not probe.matching("delivered", mark)


def test_starts_before_the_broker(broker, place):
    broker.kill9()
    probe = place.probe()
    assert probe.ask("connected") == "connected 0"
    assert "unavailable" in probe.ask("ping")
    probe.send("publish 2")
    answers = probe.wait("published", 2)
    assert all("unavailable" in line for line in answers)
    assert DEADLINE_MS - 100 < max(milliseconds(answers)) < DEADLINE_MS + 500
    assert len(probe.matching("log warning")) == 1  # not at every try
    probe.send("consume 10 ack")
    broker.start()
    probe.until("connected", "connected 1")
    probe.send("publish 1")
    probe.wait("delivered")


def test_connections_closed_by_an_operator(broker, place):
    probe = place.connected()
    probe.send("consume 10 ack", "flow 50")
    wait_until(lambda: len(confirmed(probe)) > 500)
    broker.ctl("close_all_connections", "maintenance")
    probe.wait("lost")
    probe.until("connected", "connected 1")
    count = len(confirmed(probe))
    wait_until(lambda: len(confirmed(probe)) > count + 500)
    probe.send("flow 0")
    wait_until(lambda: set(confirmed(probe)) <= set(delivered(probe)))


def test_held_too_long_for_the_broker(broker, place):
    broker.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1000), "
                       "application:set_env(rabbit, channel_tick_interval, 500).")
    try:
        probe = place.connected()
        probe.send("publish 2", "consume 10 hold")
        probe.wait("delivered", 2)
        probe.wait("lost")
        again = probe.wait("delivered", 4)[2:]
        assert all(line.endswith(" 1") for line in again)
        probe.send("stop", "consume 10 ack")
        assert not probe.matching("log warning") and not probe.matching("log error")
    finally:
        broker.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000), "
                           "application:set_env(rabbit, channel_tick_interval, 60000).")


def test_idle_for_longer_than_the_heartbeat(place):
    probe = place.connected(place.broker.url() + "?heartbeat=1")
    probe.send("consume 10 ack")
    probe.until("connected", "connected 1")
    time.sleep(5)
    assert not probe.matching("lost")
    probe.send("publish 1")
    probe.wait("delivered")
    assert len(probe.matching("log")) == 2  # connected, consuming


def test_queue_of_another_type(place):
    with place.look() as link:  # durable, classic, as other programs declare it
        name = place.queue.encode()
        arguments = struct.pack(">HB", 0, len(name)) + name + b"\x02" + struct.pack(">I", 0)
        link._send(1, 50, 10, arguments)
        link._wait(50, 11)
        probe = place.probe()
        complaint = probe.wait("log error")[0]
        assert place.queue in complaint and "x-queue-type" in complaint and "elete" in complaint
        assert place.queue in probe.ask("ping")
        link.delete_queue(place.queue)
    probe.until("ping", "ping ok")
    probe.send("publish 1")
    assert probe.wait("published")[0].endswith(" ok")


def test_wrong_password_is_told_and_not_shown(place):
    probe = place.probe(f"amqp://guest:wr0ngsecret@127.0.0.1:{place.broker.port}/")
    assert "ACCESS_REFUSED" in probe.wait("log warning")[0]
    assert "ACCESS_REFUSED" in probe.ask("ping")
    probe.quit()
    assert "wr0ngsecret" not in "\n".join(probe.lines)


def test_tls(broker, old_place):
    probe = old_place.connected(broker.tls_url())
    probe.send("consume 100 ack", "publish 500")
    probe.wait("delivered", 500)
    broker.kill9()
    broker.start()
    probe.until("connected", "connected 1", 60)
    probe.send("publish 1")
    probe.wait("delivered", 501)


@pytest.mark.parametrize("ca, host", [("other", "localhost"), ("ca", "127.0.0.1"),
                                      ("missing", "localhost")])
def test_tls_without_trust(broker, place, ca, host):
    probe = place.probe(broker.tls_url(ca, host))
    probe.wait("log")
    time.sleep(0.5)
    assert probe.ask("connected") == "connected 0"
    assert probe.ask("ping").startswith("ping unavailable")


def test_tls_frozen_broker_and_deadlines(broker, place):
    probe = place.connected(broker.tls_url())
    broker.freeze()
    probe.send("event 5000 4000")
    assert max(milliseconds(probe.wait("published", 5000, 15))) < DEADLINE_MS + 500
    broker.thaw()
    probe.until("ping", "ping ok", 40)


@pytest.mark.parametrize("url", [
    "amqp://u:s3cret@host:port", "http://u:s3cret@host", "amqp://u:s3cret@h/v?what=1",
    "amqp://u:s3cret@h?heartbeat=0", "amqp://u:s3cret@h?heartbeat=x", "amqp://u:s3cret@h/a/b",
    "amqp://u:s3cret@h?certfile=/x&keyfile=/y", "amqps://u:s3cret@h?certfile=/x",
    "amqp://u:s3cret%zz@h"])
def test_urls_that_are_refused(url):
    probe = Probe("queue_probe", url, "q", "e")
    assert probe.wait("refused") and probe.process.wait(5) == 3
    assert "s3cret" not in "\n".join(probe.lines)
