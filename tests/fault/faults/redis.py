"""Redis killed, emptied, frozen, and full: a cache, so nothing may depend on it."""

from faults import Fault


class RedisFault(Fault):
    targets, rest = ("redis",), 5.0


class RedisKilled(RedisFault):
    name, lasts = "redis.killed", (1.0, 6.0)

    def strike(self):
        self.stage.redis.kill9()

    def heal(self):
        self.stage.redis.start()


class RedisFrozen(RedisFault):
    name, lasts = "redis.frozen", (2.0, 8.0)

    def strike(self):
        self.stage.redis.freeze()

    def heal(self):
        self.stage.redis.thaw()


class RedisEmptied(RedisFault):
    name = "redis.emptied"

    def strike(self):
        self.stage.redis.ask("FLUSHALL")


class RedisFull(RedisFault):
    """Every write is refused with -OOM."""

    name, lasts = "redis.full", (2.0, 6.0)

    def strike(self):
        self.stage.redis.ask("CONFIG", "SET", "maxmemory", "1")

    def heal(self):
        self.stage.redis.ask("CONFIG", "SET", "maxmemory", "0")
