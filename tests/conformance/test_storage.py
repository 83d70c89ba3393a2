"""Artifacts, blobs and uploads."""

import hashlib

import pytest
from cloud import until
from conftest import CONTENT
from shakenfist_client import apiclient


def data(client, blob_uuid, **window):
    return b"".join(client.get_blob_data(blob_uuid, **window))


def test_an_uploaded_artifact(t1, t2, artifact):
    assert artifact["state"] == "created" and artifact["artifact_type"] == "image"
    assert artifact["source_url"] == "sf://upload/t1/conformance"
    shown = t1.get_artifact(artifact["uuid"])
    assert shown["index"] == 1 and shown["blobs"][1]["uuid"] == artifact["blob_uuid"]
    assert t1.get_artifact("conformance")["uuid"] == artifact["uuid"]
    assert artifact["uuid"] in {one["uuid"] for one in t1.get_artifacts()}
    assert artifact["uuid"] not in {one["uuid"] for one in t2.get_artifacts()}
    assert [version["index"] for version in t1.get_artifact_versions(artifact["uuid"])] == [1]


def test_bytes_come_back(t1, t2, artifact):
    blob = artifact["blob_uuid"]
    assert t1.get_blob(blob)["size"] == len(CONTENT)
    assert data(t1, blob) == CONTENT
    assert data(t1, blob, offset=1000) == CONTENT[1000:]
    assert data(t1, blob, offset=len(CONTENT)) == b""
    for call in [t2.get_blob, t2.get_blob_events]:
        with pytest.raises(apiclient.ResourceNotFoundException):
            call(blob)
    with pytest.raises(apiclient.ResourceNotFoundException):
        data(t2, blob)


def test_hashes(t1, t2, artifact):
    digest = hashlib.sha512(CONTENT).hexdigest()
    until("the hash is known", lambda: t1.get_blob_hash(artifact["blob_uuid"], "sha512") == digest)
    assert t1.get_blob_by_sha512(digest)["uuid"] == artifact["blob_uuid"]
    assert t2.get_blob_by_sha512(digest) is None
    assert t1.get_blob_by_sha512("0" * 128) is None
    wanted = hashlib.sha1(CONTENT).hexdigest()
    until("another hash is computed", lambda: t1.get_blob_hash(artifact["blob_uuid"], "sha1") == wanted)
    with pytest.raises(apiclient.RequestMalformedException):
        t1.get_blob_hash(artifact["blob_uuid"], "md5")


def test_versions(t1, artifact):
    for number in range(4):
        upload = t1.create_upload()
        t1.send_upload(upload["uuid"], b"%d" % number)
        assert t1.upload_artifact("conformance", upload["uuid"])["uuid"] == artifact["uuid"]
    indexes = [version["index"] for version in t1.get_artifact_versions(artifact["uuid"])]
    assert indexes == [3, 4, 5]
    t1.set_artifact_max_versions(artifact["uuid"], 2)
    assert sorted(t1.get_artifact(artifact["uuid"])["blobs"]) == [4, 5]
    assert t1.delete_artifact_version(artifact["uuid"], 4)["state"] == "created"
    with pytest.raises(apiclient.ResourceNotFoundException):
        t1.delete_artifact_version(artifact["uuid"], 4)
    assert t1.delete_artifact_version(artifact["uuid"], 5)["state"] == "deleted"


def test_an_upload_in_pieces(t1, t2):
    upload = t1.create_upload()
    assert t1.send_upload(upload["uuid"], CONTENT[:1000]) == 1000
    assert t1.send_upload(upload["uuid"], b"rubbish") == 1007
    t1.truncate_upload(upload["uuid"], 1000)
    assert t1.send_upload(upload["uuid"], CONTENT[1000:]) == len(CONTENT)
    with pytest.raises(apiclient.RequestMalformedException):
        t1.truncate_upload(upload["uuid"], len(CONTENT) + 1)
    for call in [lambda: t2.send_upload(upload["uuid"], b"x"), lambda: t2.upload_artifact("stolen", upload["uuid"])]:
        with pytest.raises(apiclient.ResourceNotFoundException):
            call()
    made = t1.upload_artifact("pieces", upload["uuid"])
    assert data(t1, made["blob_uuid"]) == CONTENT
    t1.delete_artifact(made["uuid"])


def test_an_artifact_from_a_blob(t1, t2, artifact):
    made = t1.blob_artifact("second", artifact["blob_uuid"])
    assert made["blob_uuid"] == artifact["blob_uuid"]
    with pytest.raises(apiclient.ResourceNotFoundException):
        t2.blob_artifact("stolen", artifact["blob_uuid"])
    assert t1.delete_artifact(made["uuid"])["state"] == "deleted"


def test_sharing_is_for_administrators(system, t1, artifact):
    with pytest.raises(apiclient.UnauthorizedException):
        t1.cache_artifact("http://images.example.com/x", shared=True)
    with pytest.raises(apiclient.UnauthorizedException):
        t1.share_artifact(artifact["uuid"])
    upload = system.create_upload()
    system.send_upload(upload["uuid"], b"for everybody")
    made = system.upload_artifact("everybody", upload["uuid"])
    assert system.share_artifact(made["uuid"])["shared"] is True
    assert data(t1, t1.get_artifact("everybody")["blob_uuid"]) == b"for everybody"
    assert system.unshare_artifact(made["uuid"])["shared"] is False
    with pytest.raises(apiclient.ResourceNotFoundException):
        t1.get_artifact(made["uuid"])
    system.delete_artifact(made["uuid"])


def test_a_fetch_is_queued_and_its_failure_is_told(t1):
    made = t1.cache_artifact("http://127.0.0.1:1/forbidden.qcow2")
    assert made["index"] == 0 and made["blobs"] == {}
    until("the failure is shown", lambda: t1.get_artifact(made["uuid"])["error_message"])
    t1.delete_artifact(made["uuid"])


def test_blob_lists_are_for_administrators(system, t1, artifact):
    assert artifact["blob_uuid"] in {blob["uuid"] for blob in system.get_blobs()}
    with pytest.raises(apiclient.UnauthorizedException):
        t1.get_blobs()


def test_metadata_and_events(t1, artifact):
    t1.set_artifact_metadata_item(artifact["uuid"], "note", "x")
    assert t1.get_artifact_metadata(artifact["uuid"]) == {"note": "x"}
    t1.delete_artifact_metadata_item(artifact["uuid"], "note")
    t1.set_blob_metadata_item(artifact["blob_uuid"], "note", "y")
    assert t1.get_blob_metadata(artifact["blob_uuid"]) == {"note": "y"}
    t1.delete_blob_metadata_item(artifact["blob_uuid"], "note")
    until("the history is written", lambda: t1.get_artifact_events(artifact["uuid"], limit=10))


def test_all_artifacts_of_a_namespace(cloud):
    client = cloud.tenant("t5")
    upload = client.create_upload()
    client.send_upload(upload["uuid"], b"x")
    made = client.upload_artifact("one", upload["uuid"])
    assert client.delete_all_artifacts("t5") == [made["uuid"]]
    assert client.get_artifacts() == []
