//! Which metrics a text names, so that pages of documentation can be compared with what is exported.

use std::collections::BTreeSet;

/// The names in `text` that begin with `daemon` and an underscore: in what a scrape is answered with, in a table, or in an
/// expression. Counters have their `_total`.
///
/// ```
/// let names = signet_metrics::names("rate(signet_x_calls_total[5m]) > signet_x_most, signet_y_z", "signet_x");
/// assert!(names.iter().eq(["signet_x_calls_total", "signet_x_most"]));
/// ```
pub fn names(text: &str, daemon: &str) -> BTreeSet<String> {
    let part_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !part_of_a_name(c));
    let of_samples = |word: &&str| {
        word.strip_prefix(daemon)
            .is_some_and(|rest| rest.starts_with('_') && rest.len() > 1)
    };
    words.filter(of_samples).map(str::to_owned).collect()
}

/// The names of the samples that a scrape is answered with.
pub fn exported(scrape: &str, daemon: &str) -> BTreeSet<String> {
    let samples: Vec<_> = scrape.lines().filter(|line| !line.starts_with('#')).collect();
    let first = |line: &&str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    names(&samples.iter().map(first).collect::<Vec<_>>().join(" "), daemon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Page;

    #[test]
    fn what_is_exported_is_named_as_it_is_written_in_expressions() {
        let mut page = Page::new("signet_test", "1");
        page.counter("calls", "of signet_test_nothing", 7);
        page.gauges("sizes", "x", [(vec![("of", "signet_test_label".to_owned())], 1)]);
        let exported = exported(&page.to_string(), "signet_test");
        assert!(
            exported.iter().eq([
                "signet_test_build_info",
                "signet_test_calls_total",
                "signet_test_sizes"
            ]),
            "{exported:?}"
        );
        let in_words = names(
            "`signet_test_calls_total{of}` / signet_test_sizes, signet_tests, signet_test_",
            "signet_test",
        );
        assert!(
            in_words
                .iter()
                .eq(["signet_test_calls_total", "signet_test_sizes"]),
            "{in_words:?}"
        );
    }
}
