"""azure-cosmos against the documents endpoint: stored procedures, triggers, user-defined functions."""

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


STAMP = """function () {
    var request = getContext().getRequest(), item = request.getBody();
    if (!("stamp" in item)) item.stamp = request.getOperationType();
    request.setBody(item);
}"""

COUNT = """function () {
    var collection = getContext().getCollection(), made = getContext().getResponse().getBody();
    var asked = collection.queryDocuments(
        collection.getSelfLink(),
        'SELECT * FROM root r WHERE r.id = "_count"',
        function (err, found) {
            if (err) throw err;
            if (found.length !== 1) throw new Error(404, "no count");
            found[0].count += made.weight;
            var accepted = collection.replaceDocument(found[0]._self, found[0], function (err) { if (err) throw err; });
            if (!accepted) throw "not accepted";
            if (made.weight > 10) throw new Error("too heavy");
        });
    if (!asked) throw "not accepted";
}"""


def trigger(container, name, kind, operation, body):
    made = {"id": name, "body": body, "triggerType": kind, "triggerOperation": operation}
    return container.scripts.create_trigger(made)


def test_triggers_change_and_accompany_a_write(container):
    assert trigger(container, "stamp", "Pre", "All", STAMP)["triggerOperation"] == "All"
    trigger(container, "count", "Post", "Create", COUNT)
    assert [each["id"] for each in container.scripts.list_triggers()] == ["count", "stamp"]
    triggers = {"pre_trigger_include": "stamp", "post_trigger_include": "count"}
    item = {"id": "1", "owner": "me", "weight": 3}
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        container.create_item(item, **triggers)
    assert failed.value.status_code == 400 and failed.value.sub_status == 404
    container.create_item({"id": "_count", "owner": "me", "count": 0})
    assert container.create_item(item, **triggers)["stamp"] == "Create"
    heavy = {"id": "2", "owner": "me", "weight": 11}
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        container.create_item(heavy, **triggers)
    assert failed.value.status_code == 400
    assert "Encountered exception while executing Javascript. Exception = Error: too heavy" in failed.value.message
    assert container.read_item("_count", "me")["count"] == 3
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        container.read_item("2", "me")
    replaced = container.replace_item("1", item, pre_trigger_include="stamp")
    assert replaced["stamp"] == "Replace"
    assert container.upsert_item(heavy, pre_trigger_include="stamp")["stamp"] == "Upsert"
    for wrong in ({"pre_trigger_include": "count"}, {"pre_trigger_include": "none"}):
        with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
            container.upsert_item(heavy, **wrong)
        assert failed.value.status_code == 400
    keep = "function () { var was = __.request.getBody(); was.id = 'was-' + was.id; __.createDocument(__.getSelfLink(), was); }"
    trigger(container, "keep", "Pre", "Delete", keep)
    container.delete_item("1", "me", pre_trigger_include="keep")
    assert container.read_item("was-1", "me")["weight"] == 3


def test_functions_in_queries(container):
    scripts = container.scripts
    tax = "function tax(income) { if (income == undefined) throw 'no input'; return income < 1000 ? income * 0.1 : income * 0.2; }"
    scripts.create_user_defined_function({"id": "tax", "body": tax})
    scripts.create_user_defined_function({"id": "REGEX_MATCH", "body": "function (s, p) { return s.match(p) !== null; }"})
    assert [each["id"] for each in scripts.list_user_defined_functions()] == ["REGEX_MATCH", "tax"]
    for number in range(120):
        container.create_item({"id": str(number), "owner": f"o{number % 3}", "income": number * 20})

    def ask(query, **more):
        more = more or {"enable_cross_partition_query": True}
        return list(container.query_items(query, **more))

    assert len(ask("SELECT * FROM c WHERE udf.tax(c.income) >= 200", max_item_count=7, enable_cross_partition_query=True)) == 70
    assert ask("SELECT VALUE udf.tax(c.income) FROM c WHERE c.id = '100'", partition_key="o1") == [400]
    assert ask("SELECT VALUE SUM(udf.tax(c.income)) FROM c WHERE c.income <= 40") == [6]
    assert ask("SELECT VALUE COUNT(1) FROM c WHERE udf.REGEX_MATCH(c.id, '^1.$')") == [10]
    top = ask("SELECT TOP 2 c.id, udf.tax(c.income) AS tax FROM c WHERE udf.REGEX_MATCH(c.id, '9') ORDER BY c.income DESC")
    assert top == [{"id": "119", "tax": 476}, {"id": "109", "tax": 436}]
    for wrong, says in [("udf.tax(c.none)", "no input"), ("udf.none(1)", "udf.none")]:
        with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
            ask(f"SELECT VALUE {wrong} FROM c")
        assert failed.value.status_code == 400 and says in failed.value.message
    scripts.replace_user_defined_function("tax", {"id": "tax", "body": "() => 1"})
    assert ask("SELECT VALUE SUM(udf.tax(c.income)) FROM c") == [120]
    scripts.delete_user_defined_function("tax")
    with pytest.raises(exceptions.CosmosHttpResponseError):
        ask("SELECT VALUE udf.tax(c.income) FROM c")
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        scripts.create_user_defined_function({"id": "bad", "body": "function ("})
    assert failed.value.status_code == 400


def test_a_trigger_and_a_function_that_do_not_end_are_ended(container):
    trigger(container, "loop", "Pre", "All", "function () { for (;;) {} }")
    container.scripts.create_user_defined_function({"id": "loop", "body": "function () { for (;;) {} }"})
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        container.create_item({"id": "1", "owner": "me"}, pre_trigger_include="loop", retry_write=0)
    assert failed.value.status_code == 408
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        container.read_item("1", "me")
    container.create_item({"id": "1", "owner": "me"})
    with pytest.raises(exceptions.CosmosHttpResponseError) as failed:
        list(container.query_items("SELECT VALUE udf.loop() FROM c", partition_key="me"))
    assert failed.value.status_code == 408


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
