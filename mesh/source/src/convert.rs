//! Turns written values into types that are always valid, and notes where one is not.

use std::collections::BTreeMap;

use signet_policy::{LabelKey, LabelValue, Labels, Name, Namespace};

use crate::at::{At, Place};
use crate::document::Piece;
use crate::error::{Errors, SourceError};
use crate::field::Field;
use crate::schema::Metadata;

/// Collects what is wrong with one document.
pub(crate) struct Converter<'a> {
    file: &'a str,
    piece: Piece<'a>,
    errors: Vec<SourceError>,
}

impl<'a> Converter<'a> {
    pub(crate) fn new(file: &'a str, piece: Piece<'a>) -> Self {
        Self {
            file,
            piece,
            errors: Vec::new(),
        }
    }

    /// Notes an error.
    pub(crate) fn error(&mut self, field: Field<'_>, place: Place, message: impl Into<String>) {
        self.errors.push(
            self.piece
                .error(self.file, place, field.to_string(), message.into()),
        );
    }

    /// Keeps a value, or notes why there is none.
    pub(crate) fn take<T, E: ToString>(
        &mut self,
        field: Field<'_>,
        place: Place,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.error(field, place, error.to_string()))
            .ok()
    }

    /// Parses a text.
    pub(crate) fn parse<T, E: ToString>(
        &mut self,
        field: Field<'_>,
        text: &At<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.take(field, text.place, parse(&text.value))
    }

    /// Name, namespace and labels.
    pub(crate) fn metadata(&mut self, metadata: &Metadata) -> Option<(Namespace, Name, Labels)> {
        let field = Field::root("metadata");
        let namespace = self.parse(field.name("namespace"), &metadata.namespace, Namespace::parse);
        let name = self.parse(field.name("name"), &metadata.name, Name::parse);
        let labels = self.labels(field.name("labels"), &metadata.labels);
        Some((namespace?, name?, labels?))
    }

    /// Labels, or the labels that a selector wants.
    pub(crate) fn labels(
        &mut self,
        field: Field<'_>,
        written: &BTreeMap<String, At<String>>,
    ) -> Option<Labels> {
        let pairs: Vec<_> = written
            .iter()
            .map(|(key, value)| {
                let field = field.name(key);
                let key = self.take(field, value.place, LabelKey::parse(key));
                let value = self.parse(field, value, LabelValue::parse);
                key.zip(value)
            })
            .collect();
        pairs.into_iter().collect()
    }

    /// The value, if nothing was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Errors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            Some(_) | None => {
                let mut errors = Errors::default();
                errors.extend(self.errors);
                Err(errors)
            }
        }
    }
}
