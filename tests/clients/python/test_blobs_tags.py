"""Tags, tiers and batches, with azure-storage-blob."""

import uuid

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobBlock,
    ContainerClient,
    ContainerSasPermissions,
    PartialBatchErrorException,
    PremiumPageBlobTier,
    StandardBlobTier,
    generate_container_sas,
)

from server import BLOBS_ACCOUNT, BLOBS_KEY
from test_blobs_access import hours


def refused(action, *arguments, **named):
    with pytest.raises(HttpResponseError) as caught:
        action(*arguments, **named)
    return caught.value.status_code, caught.value.error_code


# Tags


def test_tags_are_set_and_kept(blob_container):
    blob = blob_container.upload_blob("a", b"x", tags={"state": "ready", "year of": "2024+1"})
    assert blob.get_blob_tags() == {"state": "ready", "year of": "2024+1"}
    properties = blob.get_blob_properties()
    assert properties.tag_count == 2
    blob.set_blob_tags({"state": "done"})
    assert blob.get_blob_tags() == {"state": "done"}
    assert blob.get_blob_properties().etag == properties.etag, "tags are no change of the blob"
    listed = next(iter(blob_container.list_blobs(include=["tags"])))
    assert (listed.tag_count, listed.tags) == (1, {"state": "done"})
    blob.set_blob_metadata({"m": "1"})
    assert blob.get_blob_tags() == {"state": "done"}
    blob.stage_block("MDAx", b"y")
    blob.commit_block_list([BlobBlock("MDAx")], tags={"by": "list"})
    assert blob.get_blob_tags() == {"by": "list"}
    copy = blob_container.get_blob_client("copy")
    copy.start_copy_from_url(blob.url, tags={"by": "copy"})
    assert copy.get_blob_tags() == {"by": "copy"}
    blob.upload_blob(b"z", overwrite=True)
    assert blob.get_blob_tags() == {} and blob.get_blob_properties().tag_count is None


def test_tags_have_bounds(blob_container):
    blob = blob_container.upload_blob("a", b"x")
    assert refused(blob.set_blob_tags, {str(n): "" for n in range(11)}) == (400, "TagsTooLarge")
    assert refused(blob.set_blob_tags, {"k": "ø"}) == (400, "InvalidTag")
    assert refused(blob.set_blob_tags, {"k" * 129: ""}) == (400, "TagsTooLarge")
    assert refused(blob.set_blob_tags, {"": "v"}) == (400, "EmptyTagName")
    assert refused(blob_container.get_blob_client("none").get_blob_tags) == (404, "BlobNotFound")


def test_conditions_on_tags(blob_container):
    blob = blob_container.upload_blob("a", b"x", tags={"state": "ready"})
    missed = (412, "ConditionNotMet")
    assert blob.download_blob(if_tags_match_condition="\"state\" = 'ready'").readall() == b"x"
    assert refused(blob.download_blob, if_tags_match_condition="\"state\" = 'done'") == missed
    assert refused(blob.upload_blob, b"y", overwrite=True, if_tags_match_condition="\"state\" > 'ready'") == missed
    assert refused(blob.set_blob_tags, {}, if_tags_match_condition="\"state\" = 'done'") == missed
    assert refused(blob.delete_blob, if_tags_match_condition="\"state\" <> 'ready'") == missed
    assert refused(blob.delete_blob, if_tags_match_condition="state ready") == (400, "InvalidHeaderValue")
    blob.delete_blob(if_tags_match_condition="\"state\" >= 'a' AND \"state\" = 'ready'")


def test_tags_are_for_who_is_granted_them(endpoints, blob_container):
    def granted(permission):
        sas = generate_container_sas(BLOBS_ACCOUNT, blob_container.container_name, account_key=BLOBS_KEY,
                                     permission=ContainerSasPermissions.from_string(permission), expiry=hours(1))
        return ContainerClient(endpoints.blobs_account, blob_container.container_name, credential=sas)

    blob_container.upload_blob("a", b"x", tags={"state": "ready"})
    reader, tagger = granted("rwdl"), granted("rltf")
    held = "\"state\" = 'ready'"
    denied = (403, "AuthorizationPermissionMismatch")
    blob = reader.get_blob_client("a")
    assert blob.download_blob().readall() == b"x" and blob.get_blob_properties().tag_count is None
    assert next(iter(reader.list_blobs())).tag_count is None
    assert refused(blob.download_blob, if_tags_match_condition=held) == denied
    assert refused(blob.delete_blob, if_tags_match_condition=held) == denied
    assert refused(blob.get_blob_tags) == denied
    assert refused(lambda: list(reader.list_blobs(include=["tags"]))) == denied
    assert refused(lambda: list(reader.find_blobs_by_tags(held))) == denied
    blob = tagger.get_blob_client("a")
    assert blob.download_blob(if_tags_match_condition=held).readall() == b"x"
    assert (blob.get_blob_properties().tag_count, blob.get_blob_tags()) == (1, {"state": "ready"})
    listed = next(iter(tagger.list_blobs(include=["tags"])))
    assert (listed.tag_count, listed.tags) == (1, {"state": "ready"})
    assert [found.name for found in tagger.find_blobs_by_tags(held)] == ["a"]


def test_blobs_are_found_by_their_tags(blob_service, blob_container):
    run = uuid.uuid4().hex
    for number in range(5):
        blob_container.upload_blob(f"blob-{number}", b"x", tags={"run": run, "number": str(number)})
    blob_container.upload_blob("other", b"x", tags={"run": "another"})
    where = f"\"run\" = '{run}' AND \"number\" >= '1'"
    pages = [list(page) for page in blob_service.find_blobs_by_tags(where, results_per_page=3).by_page()]
    found = [blob for page in pages for blob in page]
    assert [blob.name for blob in found] == [f"blob-{number}" for number in range(1, 5)]
    assert len(pages[0]) == 3 and found[0].container_name == blob_container.container_name
    assert found[0].tags == {"run": run, "number": "1"}
    within = f"@container = '{blob_container.container_name}' AND \"run\" = '{run}'"
    assert len(list(blob_service.find_blobs_by_tags(within))) == 5
    assert len(list(blob_container.find_blobs_by_tags(f"\"number\" < '2' AND \"run\" = '{run}'"))) == 2
    # What is changed, overwritten or deleted is found no more.
    blob_container.get_blob_client("blob-0").set_blob_tags({"run": "past"})
    blob_container.upload_blob("blob-1", b"y", overwrite=True)
    blob_container.delete_blob("blob-2")
    names = [blob.name for blob in blob_service.find_blobs_by_tags(f"\"run\" = '{run}'")]
    assert names == ["blob-3", "blob-4"]
    for bad in ["run", "\"a\" = 'b' OR \"a\" = 'c'", "\"a\" <> 'b'", "@container = 'box'"]:
        assert refused(lambda: list(blob_service.find_blobs_by_tags(bad))) == (400, "InvalidQueryParameterValue")


# Tiers


def test_tiers(blob_container):
    blob = blob_container.upload_blob("a", b"x")
    properties = blob.get_blob_properties()
    assert (properties.blob_tier, properties.blob_tier_inferred) == ("Hot", True)
    blob.set_standard_blob_tier(StandardBlobTier.COOL)
    changed = blob.get_blob_properties()
    assert (changed.blob_tier, changed.blob_tier_inferred) == ("Cool", None)
    assert changed.blob_tier_change_time is not None and changed.etag == properties.etag
    assert next(iter(blob_container.list_blobs())).blob_tier == "Cool"
    blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    archived = (409, "BlobArchived")
    assert refused(blob.download_blob) == archived
    assert refused(blob.set_blob_metadata, {}) == archived
    assert refused(blob_container.get_blob_client("b").start_copy_from_url, blob.url) == archived
    assert blob.get_blob_properties().size == 1
    blob.set_standard_blob_tier(StandardBlobTier.HOT)
    assert blob.download_blob().readall() == b"x"
    cold = blob_container.upload_blob("cold", b"x", standard_blob_tier=StandardBlobTier.COLD)
    assert cold.get_blob_properties().blob_tier == "Cold"
    assert refused(blob.set_standard_blob_tier, "P10") == (400, "InvalidHeaderValue")
    log = blob_container.get_blob_client("log")
    log.create_append_blob()
    unsupported = (400, "AccessTierNotSupportedForBlobType")
    assert refused(log.set_standard_blob_tier, "Cool") == unsupported
    # As in a general-purpose account: page blobs have tiers in premium ones alone.
    disk = blob_container.get_blob_client("disk")
    assert refused(disk.create_page_blob, 512, premium_page_blob_tier=PremiumPageBlobTier.P10) == unsupported
    disk.create_page_blob(512)
    assert refused(disk.set_premium_page_blob_tier, PremiumPageBlobTier.P60) == unsupported
    assert disk.get_blob_properties().blob_tier is None


# Batches


def test_a_batch_deletes_many(blob_service, blob_container):
    names = [f"æ {number}" for number in range(40)]
    for name in names:
        blob_container.upload_blob(name, b"x")
    blob_container.delete_blobs(*names[:20])
    assert [blob.name for blob in blob_container.list_blobs()] == sorted(names[20:])
    with pytest.raises(PartialBatchErrorException) as some:
        blob_container.delete_blobs(names[0], names[20])
    assert [part.status_code for part in some.value.parts] == [404, 202]
    answers = list(blob_container.delete_blobs(names[0], names[21], raise_on_any_failure=False))
    assert [answer.status_code for answer in answers] == [404, 202]
    assert len(list(blob_container.list_blobs())) == 18


def test_a_batch_sets_tiers(blob_container):
    for name in ("a", "b"):
        blob_container.upload_blob(name, b"x")
    answers = list(blob_container.set_standard_blob_tier_blobs("Cool", "a", "b"))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {blob.blob_tier for blob in blob_container.list_blobs()} == {"Cool"}
    leased = blob_container.get_blob_client("a")
    leased.acquire_lease()
    answers = list(blob_container.delete_blobs("a", "b", raise_on_any_failure=False))
    assert [answer.status_code for answer in answers] == [412, 202]
