//! `events.schema.json`, and a strict variant of it: nothing that a later version may add is
//! allowed. So what is sent and not written down fails.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

/// The file, as `clsess events --schema` prints it.
pub const SCHEMA: &str = include_str!("../../events.schema.json");

/// The schema for readers: open to what later versions add.
pub fn committed() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The schema without that openness.
pub fn strict() -> Value {
    let mut schema = committed();
    close(&mut schema);
    let definitions = schema["$defs"].as_object_mut().unwrap();
    for later in ["later_event", "later_name"] {
        let open = definitions.insert(later.to_owned(), json!(false));
        assert!(open.is_some(), "{later}");
    }
    schema
}

/// Closes each object whose fields are written down.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.get("type") == Some(&json!("object")) && map.contains_key("properties") {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// A validator of one definition: `event`, `report`, `complaint`.
pub fn validator(definition: &str, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    let root = schema.as_object_mut().unwrap();
    root.remove("anyOf").unwrap();
    assert!(root["$defs"][definition].is_object());
    root.insert("$ref".to_owned(), json!(format!("#/$defs/{definition}")));
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// The names of all events that the schema knows.
pub fn event_names() -> BTreeSet<String> {
    let schema = committed();
    let definitions = schema["$defs"].as_object().unwrap();
    definitions
        .keys()
        .filter_map(|name| name.strip_prefix("event_"))
        .map(str::to_owned)
        .collect()
}
