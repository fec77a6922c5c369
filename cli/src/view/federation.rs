//! Trust domains whose bundles are followed.

use serde::Serialize;
use signet_proto::ca::v1::FederationEntry;

use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// One of them in full.
#[derive(Debug, Serialize)]
pub(crate) struct TrustDomainView {
    trust_domain: String,
    url: String,
    profile: String,
    endpoint_spiffe_id: String,
    /// Whether a private web PKI counts in place of the system's.
    private_web_ca: bool,
    /// Whether there is a bundle.
    bundle: bool,
    sequence: Option<u64>,
    x509_authorities: u32,
    jwt_keys: u32,
    interval: u64,
    fetched_at: i64,
    tried_at: i64,
    failure: String,
}

impl From<FederationEntry> for TrustDomainView {
    fn from(entry: FederationEntry) -> Self {
        Self {
            trust_domain: entry.trust_domain,
            url: entry.url,
            profile: entry.profile,
            endpoint_spiffe_id: entry.endpoint_spiffe_id,
            private_web_ca: entry.has_web_ca,
            bundle: entry.has_document,
            sequence: entry.sequence,
            x509_authorities: entry.x509_authorities,
            jwt_keys: entry.jwt_keys,
            interval: entry.interval,
            fetched_at: entry.fetched_at,
            tried_at: entry.tried_at,
            failure: entry.failure,
        }
    }
}

impl TrustDomainView {
    fn sequence(&self) -> String {
        self.sequence
            .map_or_else(|| "-".to_owned(), |sequence| sequence.to_string())
    }

    fn contents(&self) -> String {
        if self.bundle {
            format!(
                "{}, {}",
                text::count(self.x509_authorities.into(), "X.509 certificate"),
                text::count(self.jwt_keys.into(), "JWT key")
            )
        } else {
            "none yet".to_owned()
        }
    }
}

fn moment(at: i64, now: i64) -> String {
    if at == 0 {
        "never".to_owned()
    } else {
        text::when(at, now)
    }
}

impl View for TrustDomainView {
    fn draw(&self, page: &mut Page) {
        let believed = match (self.endpoint_spiffe_id.as_str(), self.private_web_ca) {
            ("", true) => "by its host name, and the CA file that was given".to_owned(),
            ("", false) => "by its host name, and the CAs that the system trusts".to_owned(),
            (id, _) => format!("by its SVID, {id}"),
        };
        let mut lines = vec![
            ("trust domain", self.trust_domain.clone()),
            ("endpoint", self.url.clone()),
            ("profile", self.profile.clone()),
            ("believed", believed),
            ("bundle", self.contents()),
            ("sequence", self.sequence()),
            ("fetched", moment(self.fetched_at, page.now())),
            ("asked", moment(self.tried_at, page.now())),
            (
                "asked every",
                text::span(i64::try_from(self.interval).unwrap_or(i64::MAX)),
            ),
        ];
        if !self.failure.is_empty() {
            lines.push(("failure", self.failure.clone()));
        }
        for (name, value) in lines {
            page.line(format!("{name:<14}{value}"));
        }
    }
}

/// All of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct FederationView {
    trust_domains: Vec<TrustDomainView>,
}

impl From<Vec<FederationEntry>> for FederationView {
    fn from(entries: Vec<FederationEntry>) -> Self {
        Self {
            trust_domains: entries.into_iter().map(TrustDomainView::from).collect(),
        }
    }
}

impl View for FederationView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new([
            "TRUST DOMAIN",
            "STATE",
            "PROFILE",
            "SEQUENCE",
            "FETCHED",
            "ENDPOINT",
        ]);
        for domain in &self.trust_domains {
            let state = match (domain.bundle, domain.failure.is_empty()) {
                (true, true) => Cell::toned("followed", Tone::Good),
                (true, false) => Cell::toned("failing", Tone::Bad),
                (false, true) => "new".into(),
                (false, false) => Cell::toned("no bundle", Tone::Bad),
            };
            table.row([
                domain.trust_domain.as_str().into(),
                state,
                domain.profile.as_str().into(),
                domain.sequence().into(),
                moment(domain.fetched_at, page.now()).into(),
                domain.url.as_str().into(),
            ]);
        }
        page.table(
            table,
            "no other trust domain is followed: `signet ca federation add` begins",
        );
    }
}

/// One that is not followed any more.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RemovedView {
    trust_domain: TrustDomainView,
}

impl From<FederationEntry> for RemovedView {
    fn from(entry: FederationEntry) -> Self {
        Self {
            trust_domain: entry.into(),
        }
    }
}

impl View for RemovedView {
    fn draw(&self, page: &mut Page) {
        page.line(format!(
            "{} is not followed any more; its bundle is taken from all workloads",
            self.trust_domain.trust_domain
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_with_a_bundle_is_told_from_one_that_never_had_any() {
        let entry = |name: &str, document: bool, failure: &str| FederationEntry {
            trust_domain: name.into(),
            url: format!("https://{name}/"),
            profile: "https_web".into(),
            has_document: document,
            failure: failure.into(),
            ..FederationEntry::default()
        };
        let view = FederationView::from(vec![
            entry("b", true, ""),
            entry("c", true, "away"),
            entry("d", false, ""),
            entry("e", false, "away"),
        ]);
        let mut page = Page::new(0, false);
        view.draw(&mut page);
        let expected = "\
TRUST DOMAIN  STATE      PROFILE    SEQUENCE  FETCHED  ENDPOINT
b             followed   https_web  -         never    https://b/
c             failing    https_web  -         never    https://c/
d             new        https_web  -         never    https://d/
e             no bundle  https_web  -         never    https://e/
";
        assert_eq!(page.finish(), expected);
    }
}
