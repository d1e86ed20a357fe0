"""Run on a host: N times live from one system to another and back, by the code that a switch runs."""

import sys

from anicca.store import LocalStore, StorePath
from anicca.system.live import plan_live
from anicca.system.switching.host import HostPlaces
from anicca.system.switching.live import carry_out
from anicca.system.switching.systemd import read_active

times, *paths = sys.argv[1:]
places = HostPlaces(store=LocalStore.open())
here, there = (places.system(StorePath.parse(path)) for path in paths)
going, coming = plan_live(here, there, read_active()), plan_live(there, here, read_active())
assert (going.usr, going.etc) == (True, True)
for _ in range(int(times)):
    for system, plan in ((there, going), (here, coming)):
        problems = carry_out(places, system, plan)
        assert not problems, problems
