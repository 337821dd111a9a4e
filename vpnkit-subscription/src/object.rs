//! JSON objects that are put together field by field.

use serde_json::Value;

/// Gives `object` a field. What is no object stays as it is.
pub(crate) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
}
