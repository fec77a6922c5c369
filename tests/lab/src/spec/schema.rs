//! The lab file's JSON Schema, for editors.

use crate::LabFile;

/// JSON Schema (2020-12) of the lab file.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(LabFile).to_value()
}
