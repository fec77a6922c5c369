//! What docs/reference/policy.md shows is accepted, and it speaks of every field.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use serde_json::Value;
use signet_source::{Input, check, json_schema};

const PAGE: &str = include_str!("../../../docs/reference/policy.md");

/// The blocks of YAML on the page.
fn examples() -> Vec<&'static str> {
    let blocks = PAGE.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[test]
fn every_example_of_the_page_is_accepted_alone_and_with_the_others() {
    let input = |(number, text): (usize, &&str)| Input::Text {
        name: format!("example {number}"),
        text: (*text).to_owned(),
    };
    let examples = examples();
    assert!(examples.len() >= 5, "{}", examples.len());
    let inputs: Vec<_> = examples.iter().enumerate().map(input).collect();
    for one in inputs.chunks(1).chain([&inputs[..]]) {
        let checked = check(one);
        assert!(checked.is_ok(), "{:?}", checked.unwrap_err().errors().lines());
    }
}

/// The names of all fields of the schema.
fn fields(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| fields(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| fields(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The values that fields can be limited to.
fn values(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            let listed = object.get("enum").and_then(Value::as_array);
            let only = object.get("const");
            let texts = listed.into_iter().flatten().chain(only).filter_map(Value::as_str);
            found.extend(texts.map(str::to_owned));
            object.values().for_each(|value| values(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| values(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_page_speaks_of_every_field_and_every_value() {
    let schema = json_schema();
    let (mut names, mut words) = (BTreeSet::new(), BTreeSet::new());
    fields(&schema, &mut names);
    values(&schema, &mut words);
    assert!(names.len() > 20 && words.len() > 15, "{names:?} {words:?}");
    for name in names {
        let told = ["`", "."].iter().any(|before| {
            ["`", "."]
                .iter()
                .any(|after| PAGE.contains(&format!("{before}{name}{after}")))
        });
        assert!(told, "`{name}` is not on the page");
    }
    for word in words {
        assert!(PAGE.contains(&format!("`{word}`")), "`{word}` is not on the page");
    }
}
