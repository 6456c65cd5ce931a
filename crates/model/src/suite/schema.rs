//! The JSON Schema of suites, made from the types that read them, and kept in
//! `docs/suite.schema.json`: run the test with `WRITE_SCHEMA=1` to write it anew.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{SCHEMA, Suite};
use crate::{Rate, Task, TaskSet};

/// A number and a unit.
const DURATION: &str = r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|min|h)|0)";

/// A text with this form.
fn text(pattern: &str, description: &str) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": format!("^{pattern}$"),
        "description": description,
    })
}

/// In place of a duration.
pub(super) struct DurationText;

/// In place of a surge.
pub(super) struct SurgeText;

macro_rules! a_text {
    ($name:ident, $pattern:expr, $description:literal) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                text(&$pattern, $description)
            }
        }
    };
}

a_text!(DurationText, DURATION, "A number and a unit, for example `30ms`.");
a_text!(
    Task,
    format!("{DURATION}/{DURATION}(/{DURATION})?"),
    "Execution time, period and, where it is another, deadline: `30ms/150ms`."
);
a_text!(
    SurgeText,
    format!("{DURATION}\\.\\.{DURATION}\\*[0-9]+(\\.[0-9]+)?"),
    "From one instant to another, so many times: `10s..20s*2`."
);
a_text!(Rate, r"[0-9]+(\.[0-9]+)?/(s|min|h)", "A number in a unit of time, for example `50/s`.");

impl JsonSchema for TaskSet {
    fn schema_name() -> Cow<'static, str> {
        "TaskSet".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<Task>() })
    }
}

fn made() -> String {
    let schema = schemars::schema_for!(Suite);
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

#[test]
fn the_schema_is_that_of_the_types() {
    let made = made();
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        std::fs::write("../../docs/suite.schema.json", &made).unwrap();
        return;
    }
    assert_eq!(SCHEMA, made, "run this test with WRITE_SCHEMA=1 to write it anew");
}

/// What in `value` is not as `schema` says: unknown and missing keys, unknown words, wrong types.
fn complaints<'a>(
    root: &'a serde_json::Value,
    mut schema: &'a serde_json::Value,
    value: &serde_json::Value,
) -> Vec<String> {
    while let Some(path) = schema["$ref"].as_str() {
        schema = root.pointer(path.trim_start_matches('#')).expect("it leads somewhere");
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(own) = schema[choice].as_array() {
            let each: Vec<_> = own.iter().map(|one| complaints(root, one, value)).collect();
            return match each.iter().any(Vec::is_empty) {
                true => Vec::new(),
                false => vec![format!("{value} is none of {choice}")],
            };
        }
    }
    if let Some(own) = schema["const"].as_str() {
        return if value == own { Vec::new() } else { vec![format!("{value} is not {own}")] };
    }
    if let Some(own) = schema["enum"].as_array() {
        return if own.contains(value) {
            Vec::new()
        } else {
            vec![format!("{value} is not there")]
        };
    }
    match value {
        serde_json::Value::Object(fields) => {
            let mut found = Vec::new();
            for name in schema["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(name.as_str().unwrap()) {
                    found.push(format!("{name} is missing"));
                }
            }
            for (key, value) in fields {
                match schema["properties"].get(key) {
                    Some(own) => found.extend(complaints(root, own, value)),
                    None => found.push(format!("`{key}` is unknown")),
                }
            }
            found
        }
        serde_json::Value::Array(items) => {
            items.iter().flat_map(|item| complaints(root, &schema["items"], item)).collect()
        }
        serde_json::Value::String(_) if !is(schema, "string") => vec![format!("{value} is a text")],
        serde_json::Value::Bool(_) if !is(schema, "boolean") => {
            vec![format!("{value} is a boolean")]
        }
        serde_json::Value::Number(_) if !is(schema, "integer") && !is(schema, "number") => {
            vec![format!("{value} is a number")]
        }
        _ => Vec::new(),
    }
}

fn is(schema: &serde_json::Value, kind: &str) -> bool {
    let own = &schema["type"];
    own == kind || own.as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

fn of_suite(text: &str) -> Vec<String> {
    let root: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let value: serde_json::Value = toml::from_str(text).unwrap();
    complaints(&root, &root, &value)
}

#[test]
fn every_suite_here_fits_the_schema_and_a_slip_does_not() {
    let mut suites = 0;
    for entry in std::fs::read_dir("../../experiments").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(of_suite(&text), Vec::<String>::new(), "{}", path.display());
            suites += 1;
        }
    }
    assert!(suites >= 5);
    let quick = std::fs::read_to_string("../../experiments/quick.toml").unwrap();
    let list = quick.replacen("[host]", "[host]\nmeasured_cpus = [1]", 1);
    assert_eq!(of_suite(&list), Vec::<String>::new());
    for (right, slip) in [
        ("retries", "retires"),
        ("where = \"host\"", "where = \"moon\""),
        ("keep_awake = true", "keep_awake = \"yes\""),
        ("name = \"quick\"", "title = \"quick\""),
    ] {
        assert!(!of_suite(&quick.replacen(right, slip, 1)).is_empty(), "{slip}");
    }
}
