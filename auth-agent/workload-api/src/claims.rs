//! Claims as `google.protobuf.Struct`. Its numbers are doubles, so whole numbers beyond 2^53 lose their last digits.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

/// Depth is bounded, by the parser that the claims came from.
pub(crate) fn to_struct(claims: &serde_json::Map<String, serde_json::Value>) -> Struct {
    let fields = claims.iter().map(|(name, value)| (name.clone(), to_value(value)));
    Struct {
        fields: fields.collect(),
    }
}

fn to_value(value: &serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(to_value).collect(),
        }),
        serde_json::Value::Object(members) => Kind::StructValue(to_struct(members)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_json_has_its_kind_of_value() {
        let claims =
            json!({"a": null, "b": true, "c": 1.5, "d": -7, "e": "x", "f": [1, "y"], "g": {"h": {}}});
        let fields = to_struct(claims.as_object().unwrap()).fields;
        let kind = |name: &str| fields[name].kind.clone().unwrap();
        assert_eq!(kind("a"), Kind::NullValue(0));
        assert_eq!(kind("b"), Kind::BoolValue(true));
        assert_eq!(kind("c"), Kind::NumberValue(1.5));
        assert_eq!(kind("d"), Kind::NumberValue(-7.0));
        assert_eq!(kind("e"), Kind::StringValue("x".to_owned()));
        let Kind::ListValue(list) = kind("f") else {
            unreachable!("a list")
        };
        assert_eq!(list.values.len(), 2);
        let Kind::StructValue(inner) = kind("g") else {
            unreachable!("an object")
        };
        assert_eq!(inner.fields["h"].kind, Some(Kind::StructValue(Struct::default())));
    }
}
