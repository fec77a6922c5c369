//! What one scrape is answered with.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of one value, by name.
pub type Labels = Vec<(&'static str, String)>;

/// Values under their names, as of one moment.
///
/// Names follow Prometheus' conventions: the daemon's name before each, base units, `_timestamp_seconds` for Unix times.
/// Counters get `_total` behind theirs.
#[derive(Debug)]
pub struct Page(Registry);

impl Page {
    /// An empty page of a daemon, whose name goes before each metric's: `signet_agent`. Says its version.
    pub fn new(daemon: &str, version: &str) -> Self {
        let mut page = Self(Registry::with_prefix(daemon));
        let labels = vec![("version", version.to_owned())];
        page.gauges("build_info", "1, with the daemon's version", [(labels, 1)]);
        page
    }

    /// A value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<i64>) {
        let gauge = Gauge::<i64>::default();
        gauge.set(whole(value));
        self.0.register(name, help, gauge);
    }

    /// The same, several under one name, which their labels tell apart.
    pub fn gauges<V: TryInto<i64>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, V)>,
    ) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(whole(value));
        }
        self.0.register(name, help, family);
    }

    /// A value that only grows while the daemon runs.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    /// The same, several under one name, which their labels tell apart.
    pub fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// How many values were how large, in buckets; several under one name, which their labels tell apart.
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, Buckets)>,
    ) {
        let values = values.into_iter().collect();
        self.0.register(name, help, Histograms(values));
    }
}

/// How many values were how large.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper end of each bucket with the number of values in it alone; the last end is `f64::INFINITY`.
    pub counts: Vec<(f64, u64)>,
    /// All values together.
    pub sum: f64,
}

#[derive(Debug)]
struct Histograms(Vec<(Labels, Buckets)>);

impl EncodeMetric for Histograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, Buckets { counts, sum }) in &self.0 {
            let count = counts.iter().map(|(_, count)| count).sum();
            encoder
                .encode_family(labels)?
                .encode_histogram::<Labels>(*sum, count, counts, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// No count of ours reaches 2^63.
fn whole(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// The page in the `OpenMetrics` text format.
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        encode(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_under_their_names_with_their_labels() {
        let mut page = Page::new("signet_test", "1.2.3");
        page.gauge("svids", "SVIDs", 3_u32);
        page.counters(
            "handshakes",
            "Handshakes by result",
            [(vec![("result", "ok".to_owned())], 7)],
        );
        let text = page.to_string();
        for line in [
            "signet_test_build_info{version=\"1.2.3\"} 1",
            "# TYPE signet_test_svids gauge",
            "signet_test_svids 3",
            "# TYPE signet_test_handshakes counter",
            "signet_test_handshakes_total{result=\"ok\"} 7",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_all() {
        let mut page = Page::new("signet_test", "1");
        let buckets = Buckets {
            counts: vec![(0.001, 2), (0.5, 0), (f64::INFINITY, 1)],
            sum: 3.5,
        };
        page.histograms("took_seconds", "x", [(vec![("how", "warm".to_owned())], buckets)]);
        let text = page.to_string();
        for line in [
            "# TYPE signet_test_took_seconds histogram",
            "signet_test_took_seconds_bucket{le=\"0.001\",how=\"warm\"} 2",
            "signet_test_took_seconds_bucket{le=\"0.5\",how=\"warm\"} 2",
            "signet_test_took_seconds_bucket{le=\"+Inf\",how=\"warm\"} 3",
            "signet_test_took_seconds_count{how=\"warm\"} 3",
            "signet_test_took_seconds_sum{how=\"warm\"} 3.5",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut page = Page::new("signet_test", "1");
        page.gauges("x", "x", [(vec![("node", "a\"} 9\nb".to_owned())], 1)]);
        assert!(page.to_string().contains(r#"signet_test_x{node="a\"} 9\nb"} 1"#));
    }

    #[test]
    fn what_does_not_fit_is_the_most_there_is() {
        let mut page = Page::new("signet_test", "1");
        page.gauge("x", "x", u64::MAX);
        assert!(page.to_string().contains(&format!("signet_test_x {}", i64::MAX)));
    }
}
