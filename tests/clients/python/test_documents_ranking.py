"""azure-cosmos: vectors, full text, hybrid ranking, places on the earth, computed properties."""

import pytest
from azure.cosmos import PartitionKey, exceptions


@pytest.fixture
def places(database):
    """Four places with a text and a vector each."""
    container = database.create_container(
        "places", partition_key=PartitionKey(path="/kind"),
        vector_embedding_policy={"vectorEmbeddings": [
            {"path": "/v", "dataType": "float32", "distanceFunction": "euclidean", "dimensions": 2}]},
        full_text_policy={"defaultLanguage": "en-US", "fullTextPaths": [{"path": "/text", "language": "en-US"}]},
        indexing_policy={"includedPaths": [{"path": "/*"}, {"path": "/shout/?"}]},
        computed_properties=[{"name": "shout", "query": "SELECT VALUE UPPER(c.name) FROM c"}])
    for number, (name, text, vector, longitude, latitude) in enumerate([
        ("Oslo", "A city by the fjord with a forest", [0.0, 1.0], 10.75, 59.91),
        ("Bergen", "Rain, rain and seven mountains by the fjord", [0.2, 0.9], 5.32, 60.39),
        ("Hamar", "Fields and a lake", [1.0, 0.0], 11.07, 60.79),
        ("Voss", "mountains", [0.9, 0.4], 6.42, 60.63),
    ]):
        container.create_item({
            "id": f"place-{number}", "kind": "city" if number < 2 else "town", "name": name, "text": text,
            "v": vector, "at": {"type": "Point", "coordinates": [longitude, latitude]}})
    return container


def names(container, query, *values):
    parameters = [{"name": f"@p{number}", "value": value} for number, value in enumerate(values)]
    return list(container.query_items(query, parameters=parameters, enable_cross_partition_query=True))


def test_the_nearest_vectors(places):
    nearest = names(places, "SELECT TOP 3 VALUE c.name FROM c ORDER BY VectorDistance(c.v, @p0)", [1, 0])
    assert nearest == ["Hamar", "Voss", "Bergen"]
    distance = names(places, "SELECT VALUE VectorDistance(c.v, [1, 0]) FROM c WHERE c.name = 'Oslo'")
    assert distance == [pytest.approx(2 ** 0.5)]
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        names(places, "SELECT TOP 3 c.name FROM c ORDER BY VectorDistance(c.v, [1, 0]) ASC")
    assert refused.value.status_code == 400 and "incorrect syntax near 'ASC'" in refused.value.message


def test_words_in_texts(places):
    assert sorted(names(places, "SELECT VALUE c.name FROM c WHERE FullTextContains(c.text, 'FJORD')")) == ["Bergen", "Oslo"]
    assert names(places, "SELECT VALUE c.name FROM c WHERE FullTextContainsAll(c.text, 'seven mountains', 'rain')") == ["Bergen"]
    ranked = "SELECT TOP 2 VALUE c.name FROM c ORDER BY RANK FullTextScore(c.text, 'mountains')"
    assert names(places, ranked) == ["Voss", "Bergen"]


def test_hybrid_ranking(places):
    fused = ("SELECT TOP 4 VALUE c.name FROM c ORDER BY RANK "
             "RRF(FullTextScore(c.text, 'fjord'), VectorDistance(c.v, [0, 1]), [1, 2])")
    assert names(places, fused)[0] == "Oslo"
    filtered = ("SELECT TOP 4 VALUE c.name FROM c WHERE c.kind = 'town' ORDER BY RANK "
                "RRF(FullTextScore(c.text, 'lake'), VectorDistance(c.v, [0.9, 0.4]))")
    assert sorted(names(places, filtered)) == ["Hamar", "Voss"]


def test_places(places):
    oslo = {"type": "Point", "coordinates": [10.75, 59.91]}
    near = "SELECT VALUE c.name FROM c WHERE ST_DISTANCE(c.at, @p0) < 110000"
    assert sorted(names(places, near, oslo)) == ["Hamar", "Oslo"]
    west = {"type": "Polygon", "coordinates": [[[4, 58], [8, 58], [8, 62], [4, 62], [4, 58]]]}
    assert sorted(names(places, "SELECT VALUE c.name FROM c WHERE ST_WITHIN(c.at, @p0)", west)) == ["Bergen", "Voss"]
    area, = names(places, "SELECT VALUE ST_AREA(@p0)", west)
    assert 9.0e10 < area < 1.1e11


def test_computed_properties(places):
    assert names(places, "SELECT VALUE c.shout FROM c WHERE c.shout = 'OSLO'") == ["OSLO"]
    assert names(places, "SELECT VALUE c.name FROM c ORDER BY c.shout DESC OFFSET 0 LIMIT 1") == ["Voss"]
    assert "shout" not in names(places, "SELECT * FROM c WHERE c.name = 'Oslo'")[0]
    counted = names(places, "SELECT c.shout, COUNT(1) AS n FROM c WHERE c.kind = 'city' GROUP BY c.shout")
    assert sorted(row["shout"] for row in counted) == ["BERGEN", "OSLO"]


def test_order_by_a_computed_property_wants_its_path(database):
    container = database.create_container(
        "c", partition_key=PartitionKey(path="/pk"),
        computed_properties=[{"name": "shout", "query": "SELECT VALUE UPPER(c.name) FROM c"}])
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        names(container, "SELECT * FROM c ORDER BY c.shout")
    assert refused.value.status_code == 400 and "order-by item is excluded" in refused.value.message


def test_a_computed_property_that_is_none_is_refused(database):
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        database.create_container("bad", partition_key=PartitionKey(path="/pk"),
                                  computed_properties=[{"name": "x", "query": "SELECT VALUE RAND() FROM c"}])
    assert refused.value.status_code == 400 and "deterministic" in refused.value.message
