"""The agent is killed at random moments while instances come and go. Nothing acknowledged is lost, nothing leaks."""

import os
import random
import threading
import time

import requests
from shakenfist_client import apiclient

from cloud import until

ROUNDS = int(os.environ.get("SF_KILL_ROUNDS", "50"))
# The cleaner leaves a failed create alone for 300 s, and looks every minute.
SETTLING_SECONDS = 480
SEED = int(os.environ.get("SF_KILL_SEED", "20260701"))


class Churn:
    """Creates and deletes instances as fast as the API takes it, and remembers what was acknowledged."""

    def __init__(self, cloud, network, rng):
        self.cloud, self.network, self.rng = cloud, network, rng
        # A delete that was asked for and not answered may have happened or not.
        self.created, self.deleted, self.asked = set(), set(), set()
        self.ending = threading.Event()
        self.failure = None

    def run(self):
        try:
            tenant = self.cloud.client("t1", "key-of-t1-0123456789")
            while not self.ending.is_set():
                live = sorted(self.created - self.asked)
                if len(live) > 3 or (live and self.rng.random() < 0.4):
                    uuid = self.rng.choice(live)
                    self.asked.add(uuid)
                    tenant.delete_instance(uuid, async_request=True)
                    self.deleted.add(uuid)
                else:
                    # A blank disk: the emulator starts and finds nothing to boot, which is all this needs.
                    made = tenant._request_url("POST", "/instances", data={
                        "name": f"k{self.rng.randrange(10**9)}", "cpus": 1, "memory": 64,
                        "disk": [{"size": 1}], "network": [{"network_uuid": self.network["uuid"]}],
                        "side_channels": [], "video": {"model": "cirrus", "memory": 16384, "vdi": "vnc"},
                    }).json()
                    self.created.add(made["uuid"])
                tenant.set_instance_metadata_item(made["uuid"] if not live else live[0], "round", self.rng.random())
        except requests.RequestException:
            # The agent was killed under the request: what was not acknowledged does not count.
            pass
        except apiclient.APIException as error:
            # An instance that goes away refuses metadata, an agent that ends says 503, a full node 507; nothing else is an
            # excuse.
            if error.status_code >= 500 and error.status_code not in (503, 507):
                self.failure = error


def test_kill_at_random_moments(cloud, tenant, network):
    rng = random.Random(SEED)
    created, deleted, asked = set(), set(), set()
    acknowledged = cloud.count("SELECT COUNT(*) FROM events")
    for number in range(ROUNDS):
        churn = Churn(cloud, network, rng)
        churn.created = created - asked
        thread = threading.Thread(target=churn.run)
        thread.start()
        time.sleep(rng.uniform(0.1, 2.5))
        cloud.kill()
        churn.ending.set()
        thread.join(60)
        assert not thread.is_alive()
        assert churn.failure is None, f"round {number}: {churn.failure.status_code} {churn.failure.text}"
        created |= churn.created
        deleted |= churn.deleted
        asked |= churn.asked
        cloud.start()
        # What was acknowledged is there: a create is visible, a delete stays.
        states = {row[0]: row[1] for row in cloud.sql("SELECT uuid, state FROM instances")}
        missing = [uuid for uuid in created if uuid not in states]
        assert not missing, f"round {number}: acknowledged creates are missing: {missing}"
        undone = [uuid for uuid in deleted if states[uuid] not in ("delete-wait", "deleted")]
        assert not undone, f"round {number}: acknowledged deletes were undone: {undone}"
    print(f"{ROUNDS} rounds, {len(created)} creates and {len(deleted)} deletes acknowledged")
    assert len(created) >= ROUNDS / 4, "the churn did something"

    until("every operation ends", cloud.operations_have_ended, 300)
    # A create that failed under a kill is rolled back by the cleaner, once it is old enough for that.
    until("every create settles", lambda: not unsettled(cloud, created - deleted, asked), SETTLING_SECONDS, 2)
    cloud.empty()
    cloud.assert_nothing_left()
    until("spools are empty", lambda: cloud.metrics("eventlog_spool_depth") == 0)
    assert cloud.count("SELECT COUNT(*) FROM events") > acknowledged
    doubles = (
        "SELECT COUNT(*) FROM (SELECT o.object_id FROM event_objects o JOIN events e USING (event_uuid) "
        "WHERE o.object_type = 'instance' AND e.message = 'create request from REST API' "
        "GROUP BY o.object_id HAVING COUNT(*) > 1) twice"
    )
    assert cloud.count(doubles) == 0
    for what, acknowledged in (("create", created), ("delete", deleted)):
        untold = [uuid for uuid in acknowledged if told(cloud, uuid, f"{what} request from REST API") != 1]
        assert not untold, f"an acknowledged {what} has not exactly one event: {untold}"


def unsettled(cloud, created, asked):
    """The instances that are neither complete nor given up, nor deleted by a request that nobody saw answered."""
    states = {row[0]: row[1] for row in cloud.sql("SELECT uuid, state FROM instances")}
    gone = ("delete-wait", "deleted")
    return [
        uuid for uuid in created
        if states[uuid] not in ("created", "error") and not (uuid in asked and states[uuid] in gone)
    ]


def told(cloud, uuid, message):
    return cloud.count(
        "SELECT COUNT(*) FROM event_objects o JOIN events e USING (event_uuid) WHERE o.object_type = 'instance' "
        f"AND o.object_id = '{uuid}' AND e.message = '{message}'"
    )
