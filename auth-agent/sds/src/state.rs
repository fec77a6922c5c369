//! One stream of `StreamSecrets`: each response is the whole state. Pure.
//!
//! The protocol is <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>, its variant "state of the world".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signet_proto::sds::{DiscoveryRequest, DiscoveryResponse};
use signet_workload_api::Holdings;

use crate::content::{Content, Found, find, names, version_of_all};
use crate::conversation::Protocol;
use crate::name::Name;
use crate::refusal::{Complaint, MAX_NAMES, Refusal, check_name, check_type};
use crate::secret::{SECRET, resource};
use crate::withdrawn::Withdrawn;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// These names.
    pub(crate) names: BTreeSet<String>,
    /// And all that it holds.
    pub(crate) all: bool,
}

/// What a client holds, and what it was told of it.
#[derive(Debug)]
pub(crate) struct Shelf {
    withdrawn: Arc<Withdrawn>,
    holdings: Option<Holdings>,
    /// Names under which it was given something.
    given: BTreeSet<String>,
}

/// A resource that is due.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) version: String,
    content: Content,
}

impl Shelf {
    pub(crate) fn new(withdrawn: Arc<Withdrawn>) -> Self {
        Self {
            withdrawn,
            holdings: None,
            given: BTreeSet::new(),
        }
    }

    pub(crate) fn hold(&mut self, holdings: Option<Holdings>) {
        self.holdings = holdings;
    }

    /// What there is of what is wanted. What was given before and may not be had any more is there as withdrawn; what is
    /// still to be issued, or never was, is not there.
    pub(crate) fn items(&self, wanted: &Wanted) -> Vec<Item> {
        let held = self.holdings.iter().flat_map(names);
        let held = held.chain(self.given.iter().cloned());
        let mut names = wanted.names.clone();
        names.extend(held.filter(|_| wanted.all));
        names.iter().filter_map(|name| self.item(name)).collect()
    }

    fn item(&self, text: &str) -> Option<Item> {
        let name = Name::parse(text)?;
        let found = match &self.holdings {
            Some(holdings) => find(&name, holdings),
            None => Found::Nothing,
        };
        let content = match found {
            Found::Content(content) => content,
            Found::Nothing if self.given.contains(text) => Content::Withdrawn(name.kind()),
            Found::Nothing | Found::Pending => return None,
        };
        Some(Item {
            name: text.to_owned(),
            version: content.version(),
            content,
        })
    }

    pub(crate) fn give(&mut self, item: &Item) -> prost_types::Any {
        self.given.insert(item.name.clone());
        resource(&item.name, &item.content, &self.withdrawn)
    }

    /// The client was given these on an earlier stream, it says.
    pub(crate) fn assume_given<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        self.given.extend(names.cloned());
    }

    /// The client has let go of all others.
    pub(crate) fn keep(&mut self, wanted: &Wanted) {
        self.given
            .retain(|name| wanted.all || wanted.names.contains(name));
    }
}

/// One stream of `StreamSecrets`.
#[derive(Debug)]
pub(crate) struct StateOfTheWorld {
    shelf: Shelf,
    /// None before the first request.
    wanted: Option<Wanted>,
    /// How many responses were sent; the nonce of the last.
    sent: u64,
    /// The first response that was neither accepted nor rejected.
    unjudged: u64,
    /// The version that the client knows, of what it wants now; empty if it knows nothing.
    shown: String,
}

impl StateOfTheWorld {
    pub(crate) fn new(withdrawn: Arc<Withdrawn>) -> Self {
        Self {
            shelf: Shelf::new(withdrawn),
            wanted: None,
            sent: 0,
            unjudged: 1,
            shown: String::new(),
        }
    }

    /// Which response, not judged so far, a request accepts or rejects.
    fn judged(&self, request: &DiscoveryRequest) -> Option<u64> {
        let nonce = request.response_nonce.parse().ok()?;
        (self.unjudged..=self.sent).contains(&nonce).then_some(nonce)
    }

    fn wanted_now(&self, names: &[String]) -> Result<Wanted, Refusal> {
        if names.len() > MAX_NAMES {
            return Err(Refusal::TooManyNames);
        }
        names.iter().try_for_each(|name| check_name(name))?;
        let names = names.iter().filter(|name| !name.is_empty()).cloned();
        let names: BTreeSet<_> = names.collect();
        // No names are all names, unless there were some before.
        let all = names.is_empty() && self.wanted.as_ref().is_none_or(|wanted| wanted.all);
        Ok(Wanted { names, all })
    }
}

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn is_verdict(&self, request: &DiscoveryRequest) -> bool {
        self.judged(request).is_some_and(|nonce| {
            // What it says of an older one is heard no further.
            let changes = || self.wanted_now(&request.resource_names).ok() != self.wanted;
            nonce < self.sent || !changes()
        })
    }

    fn request(&mut self, request: DiscoveryRequest) -> Result<Option<Complaint>, Refusal> {
        check_type(&request.type_url)?;
        // One verdict a response; what follows it are changes of what is wanted.
        let judged = self.judged(&request);
        self.unjudged = judged.map_or(self.unjudged, |nonce| nonce + 1);
        // It had not seen the last response when it wrote this; its answer to that will say what it wants.
        if self.sent > 0 && request.response_nonce != self.sent.to_string() {
            return Ok(None);
        }
        let wanted = self.wanted_now(&request.resource_names)?;
        if self.wanted.is_none() && !request.version_info.is_empty() {
            // It has come back. What it was told on an earlier stream stands, and may have to be taken back.
            self.shelf.assume_given(wanted.names.iter());
            self.shown = request.version_info;
        }
        self.shelf.keep(&wanted);
        self.wanted = Some(wanted);
        let complaint = request.error_detail.filter(|_| judged.is_some());
        Ok(complaint.map(|error| Complaint::new(&error.message)))
    }

    fn hold(&mut self, holdings: Option<Holdings>) {
        self.shelf.hold(holdings);
    }

    fn is_asked(&self) -> bool {
        self.wanted.is_some()
    }

    fn response(&mut self) -> Option<DiscoveryResponse> {
        let items = self.shelf.items(self.wanted.as_ref()?);
        if items.is_empty() {
            self.shown.clear();
            return None;
        }
        let parts = items
            .iter()
            .map(|item| (item.name.as_str(), item.version.as_str()));
        let version = version_of_all(parts);
        if version == self.shown {
            return None;
        }
        self.sent += 1;
        self.shown.clone_from(&version);
        Some(DiscoveryResponse {
            version_info: version,
            resources: items.iter().map(|item| self.shelf.give(item)).collect(),
            type_url: SECRET.to_owned(),
            nonce: self.sent.to_string(),
        })
    }
}

/// `FetchSecrets`: what there is of what is wanted, at this moment.
pub(crate) fn fetch(
    request: DiscoveryRequest,
    holdings: Holdings,
    withdrawn: Arc<Withdrawn>,
) -> Result<DiscoveryResponse, Refusal> {
    let mut state = StateOfTheWorld::new(withdrawn);
    let request = DiscoveryRequest {
        version_info: String::new(),
        ..request
    };
    let _nothing_was_sent = state.request(request)?;
    state.hold(Some(holdings));
    let response = state.response().unwrap_or(DiscoveryResponse {
        type_url: SECRET.to_owned(),
        ..DiscoveryResponse::default()
    });
    Ok(DiscoveryResponse {
        nonce: String::new(),
        ..response
    })
}

/// Versions by name, as a client of the delta variant knows them.
pub(crate) type Versions = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use signet_proto::sds::Status;

    use super::*;
    use crate::testing::{Issuer, Seen, as_seen, bundles, holdings, is_withdrawn, seen, trusting};

    struct Stream(StateOfTheWorld);

    impl Stream {
        fn new(holdings: Holdings) -> Self {
            let mut state = StateOfTheWorld::new(Arc::new(Withdrawn::new().unwrap()));
            state.hold(Some(holdings));
            Self(state)
        }

        /// A request that answers the response with this nonce.
        fn ask(&mut self, names: &[&str], nonce: &str) -> Option<(String, Vec<(String, Seen)>)> {
            let request = DiscoveryRequest {
                resource_names: names.iter().map(ToString::to_string).collect(),
                response_nonce: nonce.to_owned(),
                ..DiscoveryRequest::default()
            };
            assert_eq!(self.0.request(request), Ok(None));
            self.due()
        }

        fn due(&mut self) -> Option<(String, Vec<(String, Seen)>)> {
            let response = self.0.response()?;
            Some((response.nonce, response.resources.iter().map(seen).collect()))
        }

        fn hold(&mut self, holdings: Holdings) -> Option<(String, Vec<(String, Seen)>)> {
            self.0.hold(Some(holdings));
            self.due()
        }
    }

    fn named<'a>(secrets: &'a [(String, Seen)], name: &str) -> &'a Seen {
        &secrets.iter().find(|(candidate, _)| candidate == name).unwrap().1
    }

    #[test]
    fn a_request_that_answers_an_older_response_is_ignored() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        let (first, _) = stream.ask(&["default"], "").unwrap();
        let (second, _) = stream.hold(holdings(&[&td.svid("/web")], &[&td])).unwrap();
        assert!(first != second);
        assert!(stream.ask(&["ROOTCA"], &first).is_none(), "an older one");
        assert!(stream.ask(&["ROOTCA"], "").is_none(), "none");
        let (_, secrets) = stream.ask(&["ROOTCA"], &second).unwrap();
        assert_eq!(secrets, [("ROOTCA".to_owned(), trusting(&[&td]))]);
    }

    #[test]
    fn an_answer_alone_brings_nothing_and_so_does_a_change_for_others() {
        let (td, other) = (Issuer::new("td.test"), Issuer::new("other.test"));
        let web = td.svid("/web");
        let mut stream = Stream::new(holdings(&[&web], &[&td]));
        let (nonce, _) = stream.ask(&["default", "ROOTCA"], "").unwrap();
        assert!(stream.ask(&["default", "ROOTCA"], &nonce).is_none());
        let admin = td.svid("/admin");
        assert!(stream.hold(holdings(&[&web, &admin], &[&td, &other])).is_none());
        assert!(
            stream.hold(holdings(&[&admin, &web], &[&td, &other])).is_some(),
            "the default"
        );
    }

    #[test]
    fn what_is_wanted_may_change_and_an_unknown_name_is_left_out_until_it_is_known() {
        let (td, other) = (Issuer::new("td.test"), Issuer::new("other.test"));
        let web = td.svid("/web");
        let mut stream = Stream::new(holdings(&[&web], &[&td]));
        let names = ["spiffe://other.test", "no such name"];
        assert!(stream.ask(&names, "").is_none(), "nothing is there");
        let names = ["default", "spiffe://other.test", "no such name"];
        let (nonce, secrets) = stream.ask(&names, "").unwrap();
        assert_eq!(secrets, [("default".to_owned(), as_seen(&web))]);
        let (_, secrets) = stream.hold(holdings(&[&web], &[&td, &other])).unwrap();
        assert_eq!(secrets.len(), 2);
        assert_eq!(named(&secrets, "spiffe://other.test"), &trusting(&[&other]));
        assert!(
            stream.ask(&["default"], &nonce).is_none(),
            "it answers an older response"
        );
        assert!(stream.ask(&["default"], "2").is_some());
        assert!(stream.ask(&[], "3").is_none(), "nothing is wanted any more");
        assert!(stream.hold(holdings(&[&td.svid("/web")], &[&td])).is_none());
        assert!(stream.ask(&["default"], "3").is_some());
    }

    #[test]
    fn a_client_that_never_named_anything_gets_all() {
        let (td, other) = (Issuer::new("td.test"), Issuer::new("other.test"));
        let (web, admin) = (td.svid("/web"), td.svid("/admin"));
        let mut stream = Stream::new(holdings(&[&web, &admin], &[&td, &other]));
        let (_, secrets) = stream.ask(&[], "").unwrap();
        assert_eq!(secrets.len(), 4);
        assert_eq!(named(&secrets, "spiffe://td.test/admin"), &as_seen(&admin));
        assert_eq!(named(&secrets, "spiffe://td.test"), &trusting(&[&td]));
        let (_, secrets) = stream.hold(holdings(&[&web], &[&td])).unwrap();
        assert!(is_withdrawn(named(&secrets, "spiffe://td.test/admin")));
        assert!(is_withdrawn(named(&secrets, "spiffe://other.test")));
        assert_eq!(named(&secrets, "spiffe://td.test/web"), &as_seen(&web));
    }

    #[test]
    fn one_of_two_identities_is_taken_back_and_comes_again() {
        let td = Issuer::new("td.test");
        let (web, admin) = (td.svid("/web"), td.svid("/admin"));
        let mut stream = Stream::new(holdings(&[&web, &admin], &[&td]));
        let name = "spiffe://td.test/admin";
        stream.ask(&[name], "").unwrap();
        let (_, secrets) = stream.hold(holdings(&[&web], &[&td])).unwrap();
        assert!(is_withdrawn(named(&secrets, name)));
        assert!(stream.hold(holdings(&[&web], &[&td])).is_none(), "once");
        let (_, secrets) = stream.hold(holdings(&[&web, &admin], &[&td])).unwrap();
        assert_eq!(named(&secrets, name), &as_seen(&admin));
    }

    /// It has ended and its successor is late: the workload is entitled to it as before.
    #[test]
    fn an_svid_that_is_late_is_not_taken_back() {
        let td = Issuer::new("td.test");
        let (web, admin) = (td.svid("/web"), td.svid("/admin"));
        let mut stream = Stream::new(holdings(&[&web, &admin], &[&td]));
        stream.ask(&["default"], "").unwrap();
        let late = Holdings {
            ids: vec![td.id("/web"), td.id("/admin")],
            svids: vec![admin],
            bundles: bundles(&[&td]),
            revocation_list: None,
        };
        assert!(stream.hold(late).is_none());
    }

    #[test]
    fn a_client_that_comes_back_is_told_only_what_it_does_not_have() {
        let td = Issuer::new("td.test");
        let web = td.svid("/web");
        let mut before = Stream::new(holdings(&[&web], &[&td]));
        let request = |version: &str| DiscoveryRequest {
            version_info: version.to_owned(),
            resource_names: vec!["default".to_owned()],
            ..DiscoveryRequest::default()
        };
        before.0.request(request("")).unwrap();
        let version = before.0.response().unwrap().version_info;
        for (svid, is_told) in [(&web, false), (&td.svid("/web"), true)] {
            let mut after = Stream::new(holdings(&[svid], &[&td]));
            after.0.request(request(&version)).unwrap();
            assert_eq!(after.0.response().is_some(), is_told);
        }
    }

    #[test]
    fn a_rejection_is_heard_once_and_cut_to_a_length_that_logs_bear() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        let (nonce, _) = stream.ask(&["default"], "").unwrap();
        let rejection = DiscoveryRequest {
            resource_names: vec!["default".to_owned()],
            response_nonce: nonce,
            error_detail: Some(Status {
                code: 3,
                message: "no\n".repeat(10_000),
            }),
            ..DiscoveryRequest::default()
        };
        let Complaint(text) = stream.0.request(rejection.clone()).unwrap().unwrap();
        assert_eq!(text.chars().count(), 300);
        assert_eq!(stream.0.request(rejection), Ok(None));
        assert!(stream.due().is_none(), "it is not sent again");
    }

    #[test]
    fn each_response_has_one_verdict_that_is_nothing_else() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        let request = |name: &str, nonce: &str| DiscoveryRequest {
            resource_names: vec![name.to_owned()],
            response_nonce: nonce.to_owned(),
            ..DiscoveryRequest::default()
        };
        assert!(!stream.0.is_verdict(&request("default", "")), "the first");
        stream.ask(&["default"], "").unwrap();
        stream.hold(holdings(&[&td.svid("/web")], &[&td])).unwrap();
        for (name, nonce) in [
            ("ROOTCA", "2"),
            ("default", ""),
            ("default", "0"),
            ("default", "3"),
        ] {
            assert!(!stream.0.is_verdict(&request(name, nonce)), "{name} {nonce}");
        }
        for nonce in ["1", "2"] {
            let verdict = request("default", nonce);
            assert!(stream.0.is_verdict(&verdict), "{nonce}");
            stream.0.request(verdict.clone()).unwrap();
            assert!(!stream.0.is_verdict(&verdict), "{nonce} again");
        }
    }

    #[test]
    fn another_type_than_secrets_is_refused() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        let request = DiscoveryRequest {
            type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
            ..DiscoveryRequest::default()
        };
        assert_eq!(stream.0.request(request), Err(Refusal::Type));
    }
}
