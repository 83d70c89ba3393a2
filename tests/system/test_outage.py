"""The database is frozen for thirty seconds while events are produced: nothing is lost, nothing is stored twice."""

import os
import signal
import threading
import time

from cloud import until

FROZEN_SECONDS = 30
RESET = "reboot detected (hypervisor)"


def test_a_frozen_database_loses_no_event(cloud, tenant, network, guest):
    uuid = guest["uuid"]
    pid = cloud.qemu_pid(uuid)
    until("spools are empty", lambda: cloud.metrics("eventlog_spool_depth") == 0)
    dropped = cloud.metrics("eventlog_spool_dropped_total") or 0

    os.kill(cloud.mariadb_pid(), signal.SIGSTOP)
    resets = 0
    depths = []
    statuses = set()
    # A request waits for the database as long as its budget allows, so it is asked beside the resets.
    asking = threading.Thread(target=lambda: statuses.add(cloud.status("/instances", tenant.cached_auth)))
    asking.start()
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

    asking.join()
    assert resets >= 10
    assert max(depths) > 0 and depths[-1] >= max(depths) / 2, f"the spool grew: {depths}"
    assert 503 in statuses, f"requests were answered honestly: {statuses}"
    assert cloud.qemu_pid(uuid) == pid, "the guest went on"
    until("the spool drains", lambda: cloud.metrics("eventlog_spool_depth") == 0, 120)
    assert (cloud.metrics("eventlog_spool_dropped_total") or 0) == dropped
    until("the API serves again", lambda: cloud.status("/readyz") == 200, 60)
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


def recorded(cloud, resets):
    """What waits in the spools, by identifier, once it tells of every reset.

    A reset may be followed by one that the firmware asks for: libvirt reports, and the agent records, both.
    """
    waiting = {event["event_uuid"]: event["message"] for event in cloud.spooled()}
    return waiting if list(waiting.values()).count(RESET) >= resets else None
