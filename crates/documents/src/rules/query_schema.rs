//! What a container says that queries depend on: its vectors and its computed properties.

use documents_sql::{ComputedProperty, Schema, VectorMetric};
use serde_json::Value;

use super::partition_key::parse_path;
use crate::error::DocumentsError;
use crate::limits::{COMPUTED_PROPERTIES_MAX, VECTOR_EMBEDDINGS_MAX};

/// Reads a container's resource.
///
/// # Errors
/// 400 with what is wrong with a vector policy or a computed property.
pub(crate) fn from_resource(resource: &Value) -> Result<Schema, DocumentsError> {
    Ok(Schema {
        vectors: vectors(resource.get("vectorEmbeddingPolicy"))?,
        computed: computed(resource)?,
        functions: true,
    })
}

fn vectors(policy: Option<&Value>) -> Result<Vec<(Vec<String>, VectorMetric)>, DocumentsError> {
    let bad =
        |why: &str| DocumentsError::bad_request(format!("The vector embedding policy is invalid: {why}."));
    let Some(policy) = policy.filter(|policy| !policy.is_null()) else {
        return Ok(Vec::new());
    };
    let embeddings = policy
        .get("vectorEmbeddings")
        .and_then(Value::as_array)
        .ok_or_else(|| bad("vectorEmbeddings must be an array"))?;
    if embeddings.len() > VECTOR_EMBEDDINGS_MAX {
        return Err(bad("it has too many paths"));
    }
    let mut read = Vec::with_capacity(embeddings.len());
    for embedding in embeddings {
        let path = embedding.get("path").and_then(Value::as_str);
        let path = path
            .and_then(parse_path)
            .ok_or_else(|| bad("a path must be like /name or /outer/inner"))?;
        let metric = match embedding.get("distanceFunction") {
            None | Some(Value::Null) => VectorMetric::default(),
            Some(name) => name
                .as_str()
                .and_then(VectorMetric::named)
                .ok_or_else(|| bad("distanceFunction must be cosine, dotproduct or euclidean"))?,
        };
        read.push((path, metric));
    }
    Ok(read)
}

fn computed(resource: &Value) -> Result<Vec<ComputedProperty>, DocumentsError> {
    let bad =
        |why: String| DocumentsError::bad_request(format!("The computed properties are invalid: {why}."));
    let properties = match resource.get("computedProperties") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(properties)) => properties,
        Some(_) => return Err(bad("they must be an array".to_owned())),
    };
    if properties.len() > COMPUTED_PROPERTIES_MAX {
        return Err(bad(format!(
            "{} of them, at most {COMPUTED_PROPERTIES_MAX}",
            properties.len()
        )));
    }
    let mut read: Vec<ComputedProperty> = Vec::with_capacity(properties.len());
    for property in properties {
        let text = |name: &str| property.get(name).and_then(Value::as_str);
        let (Some(name), Some(query)) = (text("name"), text("query")) else {
            return Err(bad("each needs a name and a query".to_owned()));
        };
        let reserved = name.is_empty()
            || name.contains('/')
            || ["id", "_rid", "_ts", "_etag", "_self", "_attachments"].contains(&name);
        if reserved || read.iter().any(|earlier| earlier.name == name) {
            return Err(bad(format!("the name {name:?} is taken, or can't be one")));
        }
        let property = ComputedProperty::new(name, query).map_err(|error| bad(format!("{name}: {error}")))?;
        read.push(property);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_is_read() {
        let resource = json!({
            "vectorEmbeddingPolicy": {"vectorEmbeddings": [
                {"path": "/v", "dataType": "float32", "distanceFunction": "Euclidean", "dimensions": 3},
                {"path": "/a/b"},
            ]},
            "computedProperties": [{"name": "lower", "query": "SELECT VALUE LOWER(c.name) FROM c"}],
        });
        let schema = from_resource(&resource).unwrap();
        assert_eq!(
            schema.vectors,
            [
                (vec!["v".to_owned()], VectorMetric::Euclidean),
                (vec!["a".to_owned(), "b".to_owned()], VectorMetric::Cosine)
            ]
        );
        assert_eq!(schema.computed.len(), 1);
        let nothing = Schema {
            functions: true,
            ..Schema::default()
        };
        assert_eq!(from_resource(&json!({})).unwrap(), nothing);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let property =
            |name: &str, query: &str| json!({"computedProperties": [{"name": name, "query": query}]});
        let twice = json!({"computedProperties": [
            {"name": "a", "query": "SELECT VALUE c.b FROM c"}, {"name": "a", "query": "SELECT VALUE c.d FROM c"},
        ]});
        for bad in [
            property("id", "SELECT VALUE c.a FROM c"),
            property("a", "SELECT c.a FROM c"),
            property("a", "SELECT VALUE RAND() FROM c"),
            twice,
            json!({"computedProperties": [{"name": "a"}]}),
            json!({"computedProperties": {}}),
            json!({"computedProperties": vec![json!({"name": "a", "query": "SELECT VALUE c.a FROM c"}); 21]}),
            json!({"vectorEmbeddingPolicy": {"vectorEmbeddings": [{"path": "v"}]}}),
            json!({"vectorEmbeddingPolicy": {"vectorEmbeddings": [{"path": "/v", "distanceFunction": "x"}]}}),
            json!({"vectorEmbeddingPolicy": {}}),
        ] {
            assert_eq!(from_resource(&bad).unwrap_err().status(), 400, "{bad}");
        }
    }
}
