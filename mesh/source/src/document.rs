//! From text to documents.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Deserializer, Segment, Track};
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

use crate::at::Place;
use crate::error::SourceError;
use crate::schema::{API_VERSION, Head, PolicyDocument, WorkloadDocument};

/// Most documents in one file.
const MAX_DOCUMENTS: usize = 5_000;
/// Most YAML nodes in one document.
const MAX_NODES: usize = 50_000;

/// A piece of a file that holds one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    text: &'a str,
    /// Lines of the file before it.
    lines_before: u64,
}

/// A document of a known kind.
pub(crate) enum Document {
    Workload(Box<WorkloadDocument>),
    Policy(Box<PolicyDocument>),
}

/// Cuts a file at its document markers: `---` at the start of a line, which YAML allows nowhere inside a document
/// (YAML 1.2.2, production 206). So an error in one document does not hide those in the others.
pub(crate) fn pieces<'a>(file: &str, text: &'a str) -> Result<Vec<Piece<'a>>, SourceError> {
    let mut pieces = Vec::new();
    let (mut start, mut lines_before, mut offset) = (0, 0, 0);
    for (number, line) in (0_u64..).zip(text.split_inclusive('\n')) {
        if is_marker(line) && offset > start {
            pieces.push(Piece {
                text: &text[start..offset],
                lines_before,
            });
            (start, lines_before) = (offset, number);
        }
        offset += line.len();
    }
    pieces.push(Piece {
        text: &text[start..],
        lines_before,
    });
    pieces.retain(|piece| !piece.is_empty());
    if pieces.len() > MAX_DOCUMENTS {
        let message = format!(
            "{} documents are too many for one file: at most {MAX_DOCUMENTS}",
            pieces.len()
        );
        return Err(SourceError::file(file, message));
    }
    Ok(pieces)
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

impl Piece<'_> {
    /// Nothing but markers, blank lines and comments.
    fn is_empty(self) -> bool {
        self.text.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
        })
    }

    /// A place of this piece as a place of the file.
    pub(crate) fn error(self, file: &str, place: Place, field: String, message: String) -> SourceError {
        let line = if place.line == 0 {
            0
        } else {
            place.line + self.lines_before
        };
        SourceError {
            file: file.to_owned(),
            line,
            column: place.column,
            field,
            message,
        }
    }

    /// The line of the file at which the document begins.
    pub(crate) fn first_line(self) -> u64 {
        let blank = |line: &&str| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line == "---"
        };
        (1..)
            .zip(self.text.lines())
            .find(|(_, line)| !blank(line))
            .map_or(1, |(number, _)| number)
            + self.lines_before
    }

    /// Parses the document by its kind.
    pub(crate) fn parse(self, file: &str) -> Result<Document, SourceError> {
        let head: Head = self.parse_as(file)?;
        let start = Place {
            line: self.first_line() - self.lines_before,
            column: 1,
        };
        match &head.api_version {
            Some(version) if version.value == API_VERSION => {}
            found => {
                let place = found.as_ref().map_or(start, |version| version.place);
                let message = format!("must be {API_VERSION}");
                return Err(self.error(file, place, "apiVersion".to_owned(), message));
            }
        }
        match head.kind.as_ref().map(|kind| kind.value.as_str()) {
            Some("Workload") => self
                .parse_as(file)
                .map(|document| Document::Workload(Box::new(document))),
            Some("Policy") => self
                .parse_as(file)
                .map(|document| Document::Policy(Box::new(document))),
            Some(_) | None => {
                let place = head.kind.as_ref().map_or(start, |kind| kind.place);
                Err(self.error(
                    file,
                    place,
                    "kind".to_owned(),
                    "must be Workload or Policy".to_owned(),
                ))
            }
        }
    }

    fn parse_as<T: DeserializeOwned>(self, file: &str) -> Result<T, SourceError> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_nodes: MAX_NODES,
                max_events: 4 * MAX_NODES,
                max_depth: 32,
                flow_nesting_limit: 32,
                max_anchors: 64,
                max_aliases: 256,
            },
            with_snippet: false,
            strict_booleans: true,
        };
        let mut track = Track::new();
        let parsed =
            serde_saphyr::with_deserializer_from_str_with_options(self.text, options, |deserializer| {
                T::deserialize(Deserializer::new(deserializer, &mut track))
            });
        parsed.map_err(|error| {
            let place = error.location().map_or(Place::default(), |location| Place {
                line: location.line(),
                column: location.column(),
            });
            let field = field(&track.path(), error.without_snippet());
            self.error(file, place, field, message(error.without_snippet()))
        })
    }
}

/// Fields whose keys users choose.
const MAPS: [&str; 3] = ["labels", "matchLabels", "annotations"];

/// The path of the field that an error is about.
fn field(path: &serde_path_to_error::Path, error: &Error) -> String {
    let mut field = String::new();
    let mut last = "";
    for segment in path {
        match segment {
            // The wrapper that notes places has a field of this name; the schema has none.
            Segment::Map { key } if key == "value" && !MAPS.contains(&last) => last = key,
            Segment::Map { key } => {
                push(&mut field, key);
                last = key;
            }
            Segment::Seq { index } => {
                field.push('[');
                field.push_str(&index.to_string());
                field.push(']');
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let named = if let Error::SerdeUnknownField { field, .. } = error {
        field
    } else if let Error::SerdeMissingField { field, .. } = error {
        *field
    } else {
        last
    };
    if named != last {
        push(&mut field, named);
    }
    field
}

fn push(field: &mut String, name: &str) {
    if !field.is_empty() {
        field.push('.');
    }
    field.push_str(name);
}

/// The parser's message, in words for those who write documents where its own are for programmers.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enum, of which a few variants need other words"
)]
fn message(error: &Error) -> String {
    match error {
        Error::Unexpected { expected, .. } => {
            let wanted = match *expected {
                "sequence start" => "a list, with `- ` before each item or as `[]`",
                "mapping start" => "fields with values, or `{}`",
                "string scalar" => "a text",
                other => other,
            };
            format!("expected {wanted}")
        }
        Error::NullIntoString { .. } => {
            "expected a text, found nothing: quote it if it is meant literally".to_owned()
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is written twice"),
        Error::InvalidScalar { ty: "u16", .. } => "expected a number up to 65535".to_owned(),
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: web, namespace: shop}\n";

    fn errors(text: &str) -> Vec<String> {
        let parsed = pieces("f.yaml", text)
            .unwrap()
            .into_iter()
            .map(|piece| piece.parse("f.yaml"));
        parsed
            .filter_map(Result::err)
            .map(|error| error.to_string())
            .collect()
    }

    fn error(spec: &str) -> String {
        let [error] = &errors(&format!("{HEAD}{spec}"))[..] else {
            panic!("one error expected for {spec}")
        };
        error.clone()
    }

    #[test]
    fn an_unknown_field_is_named_with_its_place_and_the_known_ones() {
        assert_eq!(
            error("spec:\n  endpointSelector: {}\n  ingres:\n  - from: []\n"),
            "f.yaml:6:3: spec.ingres: unknown field `ingres`, expected one of endpointSelector, ingress, egress"
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(
            error("spec:\n  ingress:\n  - ports: []\n"),
            "f.yaml:6:5: spec.ingress[0].from: missing field `from`"
        );
        assert_eq!(error(""), "f.yaml:3:1: spec: missing field `spec`");
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        assert_eq!(
            error("spec:\n  ingress:\n  - from: [{entity: everyone}]\n"),
            "f.yaml:6:21: spec.ingress[0].from[0].entity: unknown variant `everyone`, expected one of all, world, host, \
             remote-node, unmanaged, ingress, cluster"
        );
        assert_eq!(
            error(
                "spec:\n  ingress:\n  - from: [{entity: all}]\n    ports: [{protocol: TCP, port: 80000}]\n"
            ),
            "f.yaml:7:35: spec.ingress[0].ports[0].port: expected a number up to 65535"
        );
    }

    #[test]
    fn ingress_with_nothing_behind_it_is_an_error_and_not_an_open_door() {
        let message = error("spec:\n  ingress:\n");
        assert!(
            message.contains("spec.ingress: expected a list, with `- ` before each item or as `[]`"),
            "{message}"
        );
    }

    #[test]
    fn a_label_called_value_keeps_its_name() {
        let message = error("spec: {endpointSelector: {matchLabels: {value: [1]}}}\n");
        assert_eq!(
            message,
            "f.yaml:4:48: spec.endpointSelector.matchLabels.value: expected a text"
        );
    }

    #[test]
    fn a_key_that_is_written_twice_is_refused() {
        assert_eq!(
            error("spec: {}\nspec: {}\n"),
            "f.yaml:5:1: `spec` is written twice"
        );
    }

    #[test]
    fn every_document_of_a_file_is_looked_at_and_lines_count_through() {
        let text = format!(
            "# comment\n{HEAD}spec: {{}}\n---\napiVersion: v1\nkind: Policy\n---\n\n# none\n---\n{HEAD}spec: {{x: 1}}\n"
        );
        assert_eq!(
            errors(&text),
            [
                "f.yaml:7:13: apiVersion: must be signet.io/v1alpha1",
                "f.yaml:16:8: spec.x: unknown field `x`, expected one of endpointSelector, ingress, egress",
            ]
        );
    }

    #[test]
    fn what_is_no_document_of_ours_is_refused() {
        assert_eq!(
            errors("- a\n"),
            ["f.yaml:1:1: expected fields with values, or `{}`"]
        );
        assert_eq!(
            errors("apiVersion: signet.io/v1alpha1\nkind: Service\n"),
            ["f.yaml:2:7: kind: must be Workload or Policy"]
        );
        assert!(errors(&format!("{HEAD}spec: [\n"))[0].starts_with("f.yaml:4:7"));
    }

    #[test]
    fn empty_files_and_comments_hold_no_documents() {
        for empty in ["", "\n", "# only a comment\n", "---\n", "---\n---\n...\n"] {
            assert_eq!(pieces("f.yaml", empty).unwrap().len(), 0, "{empty:?}");
        }
    }

    #[test]
    fn a_document_marker_inside_a_line_is_no_marker() {
        assert_eq!(pieces("f.yaml", "a: ---\n ---\n---x: 1\n").unwrap().len(), 1);
        assert_eq!(
            pieces("f.yaml", "--- {a: 1}\n---\tb: 1\n---\r\nc: 1")
                .unwrap()
                .len(),
            3
        );
    }

    #[test]
    fn billion_laughs_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            text = format!("{text}a{level}: &a{level} [{below}]\n");
        }
        assert_eq!(
            errors(&format!("{HEAD}spec: {{}}\nx:\n  {}", text.replace('\n', "\n  "))).len(),
            1
        );
        let deep = format!("{HEAD}spec: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(errors(&deep).len(), 1);
    }
}
