//! Lists in one column, as migration 1 says.

use std::fmt::Display;
use std::str::FromStr;

use crate::database::StorageError;

pub(crate) fn join<T: Display>(list: &[T]) -> String {
    list.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

pub(crate) fn split<T: FromStr>(text: &str, column: &'static str) -> Result<Vec<T>, StorageError> {
    text.lines()
        .map(|item| item.parse().map_err(|_| StorageError::Corrupt { column }))
        .collect()
}
