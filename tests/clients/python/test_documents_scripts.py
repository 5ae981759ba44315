"""azure-cosmos against the documents endpoint: stored procedures, and scripts as resources."""

import pathlib

import pytest
from azure.cosmos import PartitionKey, exceptions

IMPORT = """function (docs) {
    var collection = getContext().getCollection(), count = 0;
    function next() {
        if (count === docs.length) return getContext().getResponse().setBody({created: count});
        var accepted = collection.createDocument(collection.getSelfLink(), docs[count], function (err) {
            if (err) throw err;
            count++;
            next();
        });
        if (!accepted) getContext().getResponse().setBody({created: count});
    }
    next();
}"""


@pytest.fixture
def container(database):
    return database.create_container("scripts", partition_key=PartitionKey(path="/owner"))


def test_a_stored_procedure_lives(container):
    scripts = container.scripts
    made = scripts.create_stored_procedure({"id": "import", "body": IMPORT})
    assert scripts.get_stored_procedure("import")["_etag"] == made["_etag"]
    assert [found["id"] for found in scripts.list_stored_procedures()] == ["import"]
    found = scripts.query_stored_procedures("SELECT * FROM s WHERE s.id = 'import'")
    assert [each["_rid"] for each in found] == [made["_rid"]]
    with pytest.raises(exceptions.CosmosResourceExistsError):
        scripts.create_stored_procedure({"id": "import", "body": IMPORT})
    replaced = scripts.replace_stored_procedure("import", {"id": "import", "body": "function () {}"})
    assert replaced["body"] == "function () {}"
    scripts.delete_stored_procedure("import")
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        scripts.get_stored_procedure("import")


def test_it_writes_all_or_nothing(container):
    container.scripts.create_stored_procedure({"id": "import", "body": IMPORT})
    docs = [{"id": str(number), "owner": "me"} for number in range(20)]
    result = container.scripts.execute_stored_procedure("import", partition_key="me", params=[docs])
    assert result == {"created": 20}
    more = [{"id": "new", "owner": "me"}, {"id": "3", "owner": "me"}]
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        container.scripts.execute_stored_procedure("import", partition_key="me", params=[more])
    assert failed.value.status_code == 400 and failed.value.sub_status == 409
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        container.read_item("new", "me")
    other = [{"id": "new", "owner": "you"}]
    with pytest.raises(exceptions.CosmosHttpResponseError):
        container.scripts.execute_stored_procedure("import", partition_key="me", params=[other])
    assert len(list(container.read_all_items())) == 20


def test_a_script_that_does_not_end_is_ended(container):
    container.scripts.create_stored_procedure({"id": "loop", "body": "function () { for (;;) {} }"})
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        container.scripts.execute_stored_procedure("loop", partition_key="me", retry_write=0)
    assert failed.value.status_code == 408


def test_triggers_and_functions_are_kept(container):
    trigger = {"id": "t", "body": "function () {}", "triggerType": "Pre", "triggerOperation": "Create"}
    assert container.scripts.create_trigger(trigger)["triggerOperation"] == "Create"
    container.scripts.create_user_defined_function({"id": "f", "body": "function (x) { return x }"})
    assert [each["id"] for each in container.scripts.list_triggers()] == ["t"]
    assert [each["id"] for each in container.scripts.list_user_defined_functions()] == ["f"]
    # Not run, and nothing is written as if they were.
    with pytest.raises(exceptions.CosmosHttpResponseError):
        container.create_item({"id": "1", "owner": "me"}, pre_trigger_include="t")
    with pytest.raises(exceptions.CosmosHttpResponseError):
        list(container.query_items("SELECT VALUE udf.f(1) FROM c", enable_cross_partition_query=True))
    container.scripts.delete_trigger("t")
    container.scripts.delete_user_defined_function("f")


def test_what_never_looks_whether_to_stop_is_ended_and_leaves_its_place(container):
    body = "function () { const n = 3n ** 600000n, m = 7n ** 150000n; for (;;) n % m; }"
    container.scripts.create_stored_procedure({"id": "numbers", "body": body})
    container.scripts.create_stored_procedure({"id": "well", "body": "() => __.response.setBody(1)"})
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        container.scripts.execute_stored_procedure("numbers", partition_key="me", retry_write=0)
    assert failed.value.status_code == 408
    assert container.scripts.execute_stored_procedure("well", partition_key="me") == 1


def test_scripts_run_in_a_confined_process(server, container):
    if getattr(server, "process", None) is None:
        pytest.skip("the server isn't ours to look into")
    container.scripts.create_stored_procedure({"id": "well", "body": "() => __.response.setBody(1)"})
    workers = []
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"script-worker" in (folder / "cmdline").read_bytes():
                status = (folder / "status").read_text()
                if f"PPid:\t{server.process.pid}\n" in status:
                    workers.append(status)
        except OSError:
            continue  # It ended meanwhile.
    assert workers, "no process runs scripts, on this machine"
    for status in workers:
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (fields["Seccomp"], fields["NoNewPrivs"], fields["Threads"]) == ("2", "1", "1")
        assert int(fields["VmSize"].split()[0]) < 512 * 1024
