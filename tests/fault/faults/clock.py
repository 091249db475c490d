"""Clocks that step: libfaketime beneath one gateway and one worker, by a file it reads again."""

from faults import Fault
from stage import FAKETIME


class ClockFault(Fault):
    targets = ("clock",)
    lasts = (4.0, 9.0)

    @classmethod
    def is_possible(cls, stage):
        return FAKETIME.exists()

    def strike(self):
        seconds = self.sign * self.rng.choice((2, 15, 60))
        self.stage.set_clock(seconds)
        return {"seconds": seconds}

    def heal(self):
        self.stage.set_clock(0)


class ClockForward(ClockFault):
    name, sign = "clock.forward", 1


class ClockBack(ClockFault):
    name, sign = "clock.back", -1
