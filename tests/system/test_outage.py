"""The database is frozen for thirty seconds while events are produced: nothing is lost, nothing is stored twice."""

import collections
import os
import signal
import threading
import time

from cloud import until

FROZEN_SECONDS = 30
AFTERWARDS_SECONDS = 15
CLIENTS = 6
RESET = "reboot detected (hypervisor)"


def test_a_frozen_database_loses_no_event(cloud, tenant, network, guest):
    uuid = guest["uuid"]
    pid = cloud.qemu_pid(uuid)
    until("spools are empty", lambda: cloud.metrics("eventlog_spool_depth") == 0)
    dropped = cloud.metrics("eventlog_spool_dropped_total") or 0

    os.kill(cloud.mariadb_pid(), signal.SIGSTOP)
    resets = 0
    depths = []
    # Requests wait for the database as long as their budget allows, so they are made beside the resets.
    asking = Asking(cloud, tenant)
    try:
        frozen_until = time.monotonic() + FROZEN_SECONDS
        while time.monotonic() < frozen_until:
            # Each reset makes libvirt report, and sf-queues record, one event.
            cloud.virsh("reset", f"sf:{uuid}")
            resets += 1
            depths.append(cloud.metrics("eventlog_spool_depth"))
            time.sleep(0.5)
        waiting = until("every reset was recorded", lambda: recorded(cloud, resets), 5)
    finally:
        os.kill(cloud.mariadb_pid(), signal.SIGCONT)

    until("the API serves again", lambda: cloud.status("/readyz") == 200, 60)
    asking.go_on_for(AFTERWARDS_SECONDS)
    assert resets >= 10
    assert max(depths) > 0 and depths[-1] >= max(depths) / 2, f"the spool grew: {depths}"
    assert set(asking.statuses) == {200, 503}, f"requests were answered honestly: {asking.statuses}"
    assert cloud.qemu_pid(uuid) == pid, "the guest went on"
    until("the spool drains", lambda: cloud.metrics("eventlog_spool_depth") == 0, 120)
    assert (cloud.metrics("eventlog_spool_dropped_total") or 0) == dropped
    listed = ", ".join(f"'{event}'" for event in waiting)
    assert cloud.count(f"SELECT COUNT(*) FROM events WHERE event_uuid IN ({listed})") == len(waiting), "no event was lost"
    # The identifier is the primary key, so an event stored twice would show in its objects.
    told = [event["message"] for event in tenant.get_instance_events(uuid, limit=1000)]
    stored = cloud.count(
        f"SELECT COUNT(*) FROM events e JOIN event_objects o USING (event_uuid) WHERE e.message = '{RESET}'"
        f" AND o.object_id = '{uuid}'"
    )
    assert told.count(RESET) == stored
    assert cloud.count("SELECT COUNT(*) FROM event_objects o LEFT JOIN events e USING (event_uuid) WHERE e.event_uuid IS NULL") == 0


class Asking:
    """Clients that ask the API without a pause, and what they were answered."""

    def __init__(self, cloud, tenant):
        self.cloud, self.token = cloud, tenant.cached_auth
        self.statuses = collections.Counter()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        while not self.ending.is_set():
            self.statuses[self.cloud.status("/instances", self.token)] += 1

    def go_on_for(self, seconds):
        time.sleep(seconds)
        self.ending.set()
        for thread in self.threads:
            thread.join()


def recorded(cloud, resets):
    """What waits in the spools, by identifier, once it tells of every reset.

    A reset may be followed by one that the firmware asks for: libvirt reports, and the agent records, both.
    """
    waiting = {event["event_uuid"]: event["message"] for event in cloud.spooled()}
    return waiting if list(waiting.values()).count(RESET) >= resets else None
