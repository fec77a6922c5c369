//! On which line of a lab file each of its values stands, whatever the schema says of it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The values of a file with their lines. Empty: not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    root: Option<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    line: u64,
    inside: Inside,
}

#[derive(Debug, Clone)]
enum Inside {
    Fields(Vec<(String, Place)>),
    Items(Vec<Place>),
    Nothing,
}

impl Places {
    /// Of a text that is YAML.
    pub(crate) fn of(text: &str) -> Self {
        Self {
            root: serde_saphyr::from_str(text).ok(),
        }
    }

    /// The line of a field, as in `policies[0].spec.ingress[1]`; of what is around it where it is not there. 0: not known.
    pub(crate) fn line(&self, field: &str) -> u64 {
        let Some(mut place) = self.root.as_ref() else {
            return 0;
        };
        let mut rest = field;
        while let Some((inner, after)) = place.step(rest) {
            (place, rest) = (inner, after);
        }
        // The whole document is no place for anything in it.
        if rest.len() == field.len() { 0 } else { place.line }
    }
}

impl Place {
    /// What the first part of a path leads to, and the rest of the path.
    fn step<'a, 'b>(&'a self, path: &'b str) -> Option<(&'a Self, &'b str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.inside {
            Inside::Items(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }
            // Keys may have dots in them: the longest that fits.
            Inside::Fields(fields) => fields
                .iter()
                .filter_map(|(key, place)| Some((key, place, path.strip_prefix(key.as_str())?)))
                .filter(|(_, _, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
                .max_by_key(|(key, _, _)| key.len())
                .map(|(_, place, rest)| (place, rest)),
            Inside::Nothing => None,
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Inside>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            inside: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Place>()? {
            // Its value may begin on the next line only.
            let place = Place {
                line: key.referenced.line(),
                inside: value.inside,
            };
            fields.push((key.value, place));
        }
        Ok(Inside::Fields(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Inside, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Inside::Items(items))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Inside, D::Error> {
        Inside::deserialize(deserializer)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Inside, D::Error> {
        Inside::deserialize(deserializer)
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, data: A) -> Result<Inside, A::Error> {
        data.variant::<IgnoredAny>().map(|_| Inside::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_none<E>(self) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_line_and_one_that_is_missing_that_of_what_is_around_it() {
        let places = Places::of(
            "name: x\nworkloads:\n- name: web\n  labels:\n    app: 1\n    app.io/name: web\n  serve: {tcp: [1,\n    2]}\n- name: null\n",
        );
        for (field, line) in [
            ("name", 1),
            ("workloads[0].name", 3),
            ("workloads[0].labels.app", 5),
            ("workloads[0].labels.app.io/name", 6),
            ("workloads[0].serve.tcp[1]", 8),
            ("workloads[1]", 9),
            ("workloads[1].node", 9),
            ("workloads[1].name", 9),
            ("nodes", 0),
        ] {
            assert_eq!(places.line(field), line, "{field}");
        }
        assert_eq!(Places::of("a: [").line("a"), 0);
    }
}
