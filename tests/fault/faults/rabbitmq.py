"""RabbitMQ killed, restarted, frozen, out of memory or disk, and robbed of its queue."""

import time

import amqp
from faults import Fault
from stage import QUEUE


class RabbitMQFault(Fault):
    targets, rest = ("rabbitmq",), 10.0


class RabbitMQKilled(RabbitMQFault):
    name, lasts = "rabbitmq.killed", (0.5, 5.0)

    def strike(self):
        self.stage.rabbitmq.kill9()

    def heal(self):
        self.stage.rabbitmq.start()


class RabbitMQRestarted(RabbitMQFault):
    name, lasts = "rabbitmq.restarted", (0.0, 1.0)

    def strike(self):
        self.stage.rabbitmq.stop()

    def heal(self):
        self.stage.rabbitmq.start()


class RabbitMQFrozen(RabbitMQFault):
    name, lasts = "rabbitmq.frozen", (4.0, 20.0)

    def strike(self):
        self.stage.rabbitmq.freeze()

    def heal(self):
        self.stage.rabbitmq.thaw()


class MemoryAlarm(RabbitMQFault):
    name, lasts = "rabbitmq.memory_alarm", (4.0, 10.0)

    def strike(self):
        self.stage.rabbitmq.memory_alarm(True)

    def heal(self):
        self.stage.rabbitmq.memory_alarm(False)


class DiskAlarm(RabbitMQFault):
    name, lasts = "rabbitmq.disk_alarm", (4.0, 10.0)

    def strike(self):
        self.stage.rabbitmq.ctl("set_disk_free_limit", str(1 << 50))

    def heal(self):
        self.stage.rabbitmq.ctl("set_disk_free_limit", "50MB")


class QueueDeleted(RabbitMQFault):
    name = "rabbitmq.queue_deleted"

    def strike(self):
        with amqp.Connection(self.stage.rabbitmq.url()) as connection:
            connection.delete_queue(QUEUE)


class QueuePurged(RabbitMQFault):
    """While no worker may take a message, so that there is something to lose."""

    name = "rabbitmq.queue_purged"

    @classmethod
    def occupies(cls, target):
        return {target, "links"}

    def strike(self):
        self.stage.disturb("worker-*>rabbitmq", "refuse")
        time.sleep(0.7)
        with amqp.Connection(self.stage.rabbitmq.url()) as connection:
            return {"messages": connection.purge_queue(QUEUE)}

    def heal(self):
        self.stage.disturb("worker-*>rabbitmq")


class ConnectionsClosed(RabbitMQFault):
    name = "rabbitmq.connections_closed"

    def strike(self):
        self.stage.rabbitmq.ctl("close_all_connections", "fault suite")
