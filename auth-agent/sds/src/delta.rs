//! One stream of `DeltaSecrets`: each response is what has changed. Pure.
//!
//! The protocol is <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>, its variant "incremental".

use std::sync::Arc;

use signet_proto::sds::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use signet_workload_api::Holdings;

use crate::content::version_of_all;
use crate::conversation::Protocol;
use crate::refusal::{Complaint, MAX_NAMES, Refusal, check_name, check_type};
use crate::secret::SECRET;
use crate::state::{Item, Shelf, Versions, Wanted};
use crate::withdrawn::Withdrawn;

/// The name of all names.
const ALL: &str = "*";

/// One stream of `DeltaSecrets`.
#[derive(Debug)]
pub(crate) struct Delta {
    shelf: Shelf,
    /// None before the first request.
    wanted: Option<Wanted>,
    /// What the client has.
    known: Versions,
    /// How many responses were sent; the nonce of the last.
    sent: u64,
    /// The first response that was neither accepted nor rejected.
    unjudged: u64,
}

impl Delta {
    pub(crate) fn new(withdrawn: Arc<Withdrawn>) -> Self {
        Self {
            shelf: Shelf::new(withdrawn),
            wanted: None,
            known: Versions::new(),
            sent: 0,
            unjudged: 1,
        }
    }

    /// Which response, not judged so far, a request accepts or rejects.
    fn judged(&self, request: &DeltaDiscoveryRequest) -> Option<u64> {
        let nonce = request.response_nonce.parse().ok()?;
        (self.unjudged..=self.sent).contains(&nonce).then_some(nonce)
    }

    fn subscribe(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Refusal> {
        let more = &request.resource_names_subscribe;
        let is_first = self.wanted.is_none();
        let mut wanted = self.wanted.clone().unwrap_or_default();
        if is_first {
            let earlier = &request.initial_resource_versions;
            if earlier.len() > MAX_NAMES {
                return Err(Refusal::TooManyNames);
            }
            earlier.keys().try_for_each(|name| check_name(name))?;
            self.known.extend(earlier.clone());
            self.shelf.assume_given(earlier.keys());
            wanted.all = more.is_empty();
        }
        for name in &request.resource_names_unsubscribe {
            if name == ALL {
                wanted.all = false;
            }
            wanted.names.remove(name);
            self.known.remove(name);
        }
        for name in more {
            check_name(name)?;
            if name == ALL {
                wanted.all = true;
            } else {
                wanted.names.insert(name.clone());
            }
            // It may have dropped what it had before.
            if !is_first {
                self.known.remove(name);
            }
        }
        if wanted.names.len() > MAX_NAMES {
            return Err(Refusal::TooManyNames);
        }
        self.shelf.keep(&wanted);
        self.wanted = Some(wanted);
        Ok(())
    }
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn is_verdict(&self, request: &DeltaDiscoveryRequest) -> bool {
        let changes = [
            &request.resource_names_subscribe,
            &request.resource_names_unsubscribe,
        ];
        self.judged(request).is_some() && changes.iter().all(|names| names.is_empty())
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<Option<Complaint>, Refusal> {
        check_type(&request.type_url)?;
        self.subscribe(&request)?;
        // One verdict a response.
        let Some(nonce) = self.judged(&request) else {
            return Ok(None);
        };
        self.unjudged = nonce + 1;
        let complaint = request.error_detail;
        Ok(complaint.map(|error| Complaint::new(&error.message)))
    }

    fn hold(&mut self, holdings: Option<Holdings>) {
        self.shelf.hold(holdings);
    }

    fn is_asked(&self) -> bool {
        self.wanted.is_some()
    }

    fn response(&mut self) -> Option<DeltaDiscoveryResponse> {
        let mut items = self.shelf.items(self.wanted.as_ref()?);
        let is_news = |item: &Item| self.known.get(&item.name) != Some(&item.version);
        items.retain(is_news);
        if items.is_empty() {
            return None;
        }
        let resources = items.iter().map(|item| Resource {
            version: item.version.clone(),
            resource: Some(self.shelf.give(item)),
            name: item.name.clone(),
        });
        let resources = resources.collect();
        let known = items.into_iter().map(|item| (item.name, item.version));
        self.known.extend(known);
        self.sent += 1;
        let known = self.known.iter();
        Some(DeltaDiscoveryResponse {
            system_version_info: version_of_all(
                known.map(|(name, version)| (name.as_str(), version.as_str())),
            ),
            resources,
            type_url: SECRET.to_owned(),
            nonce: self.sent.to_string(),
            removed_resources: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::sds::Status;

    use super::*;
    use crate::testing::{Issuer, Seen, as_seen, holdings, is_withdrawn, seen, trusting};

    struct Stream(Delta);

    impl Stream {
        fn new(holdings: Holdings) -> Self {
            let mut state = Delta::new(Arc::new(Withdrawn::new().unwrap()));
            state.hold(Some(holdings));
            Self(state)
        }

        fn ask(&mut self, more: &[&str], less: &[&str]) -> Vec<(String, Seen)> {
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            let request = DeltaDiscoveryRequest {
                resource_names_subscribe: names(more),
                resource_names_unsubscribe: names(less),
                ..DeltaDiscoveryRequest::default()
            };
            assert_eq!(self.0.request(request), Ok(None));
            self.due()
        }

        fn due(&mut self) -> Vec<(String, Seen)> {
            let response = self.0.response();
            let resources = response.into_iter().flat_map(|response| response.resources);
            resources
                .map(|resource| seen(&resource.resource.unwrap()))
                .collect()
        }

        fn hold(&mut self, holdings: Holdings) -> Vec<(String, Seen)> {
            self.0.hold(Some(holdings));
            self.due()
        }
    }

    fn one(name: &str, seen: Seen) -> [(String, Seen); 1] {
        [(name.to_owned(), seen)]
    }

    #[test]
    fn only_what_changed_is_sent() {
        let td = Issuer::new("td.test");
        let web = td.svid("/web");
        let mut stream = Stream::new(holdings(&[&web], &[&td]));
        assert_eq!(stream.ask(&["default"], &[]), one("default", as_seen(&web)));
        assert_eq!(stream.ask(&["ROOTCA"], &[]), one("ROOTCA", trusting(&[&td])));
        let web = td.svid("/web");
        assert_eq!(
            stream.hold(holdings(&[&web], &[&td])),
            one("default", as_seen(&web))
        );
        assert_eq!(stream.due(), []);
    }

    #[test]
    fn what_is_asked_for_again_is_sent_again_and_what_is_let_go_of_is_not() {
        let td = Issuer::new("td.test");
        let web = td.svid("/web");
        let mut stream = Stream::new(holdings(&[&web], &[&td]));
        stream.ask(&["default"], &[]);
        assert_eq!(stream.ask(&["default"], &[]), one("default", as_seen(&web)));
        assert_eq!(stream.ask(&[], &["default"]), []);
        assert_eq!(stream.hold(holdings(&[&td.svid("/web")], &[&td])), []);
        assert_eq!(
            stream.hold(holdings(&[], &[&td])),
            [],
            "there is nothing to take back"
        );
    }

    #[test]
    fn what_is_taken_back_is_overwritten_and_what_never_was_there_is_left_out() {
        let td = Issuer::new("td.test");
        let (web, admin) = (td.svid("/web"), td.svid("/admin"));
        let mut stream = Stream::new(holdings(&[&web, &admin], &[&td]));
        let name = "spiffe://td.test/admin";
        assert_eq!(stream.ask(&[name, "spiffe://td.test/nobody"], &[]).len(), 1);
        let [(overwritten, seen)] = <[_; 1]>::try_from(stream.hold(holdings(&[&web], &[&td]))).unwrap();
        assert!(overwritten == name && is_withdrawn(&seen));
    }

    #[test]
    fn a_star_is_all_and_so_is_nothing_at_first() {
        let td = Issuer::new("td.test");
        let held = holdings(&[&td.svid("/web")], &[&td]);
        for names in [&["*"][..], &[]] {
            let mut stream = Stream::new(held.clone());
            assert_eq!(stream.ask(names, &[]).len(), 2);
            assert_eq!(stream.ask(&[], &["*"]), []);
            assert_eq!(stream.hold(holdings(&[&td.svid("/web")], &[&td])), []);
        }
    }

    #[test]
    fn a_client_that_comes_back_is_told_only_what_it_does_not_have() {
        let td = Issuer::new("td.test");
        let (web, admin) = (td.svid("/web"), td.svid("/admin"));
        let names = ["spiffe://td.test/web", "spiffe://td.test/admin", "ROOTCA"].map(str::to_owned);
        let mut before = Stream::new(holdings(&[&web, &admin], &[&td]));
        let mut request = DeltaDiscoveryRequest {
            resource_names_subscribe: names.to_vec(),
            ..DeltaDiscoveryRequest::default()
        };
        before.0.request(request.clone()).unwrap();
        let had = before.0.response().unwrap().resources;
        request.initial_resource_versions = had
            .into_iter()
            .map(|resource| (resource.name, resource.version))
            .collect();
        let renewed = td.svid("/web");
        let mut after = Stream::new(holdings(&[&renewed], &[&td]));
        after.0.request(request).unwrap();
        let mut told = after.due();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        let [(gone, nobody), (web, seen)] = <[_; 2]>::try_from(told).unwrap();
        assert!(gone == names[1] && is_withdrawn(&nobody));
        assert!(web == names[0] && seen == as_seen(&renewed));
    }

    #[test]
    fn a_rejection_is_heard_once() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        stream.ask(&["default"], &[]);
        let rejection = |nonce: &str| DeltaDiscoveryRequest {
            response_nonce: nonce.to_owned(),
            error_detail: Some(Status {
                code: 3,
                message: "no".to_owned(),
            }),
            ..DeltaDiscoveryRequest::default()
        };
        let heard = Some(Complaint("no".to_owned()));
        for (nonce, expected) in [("2", None), ("x", None), ("1", heard), ("1", None)] {
            assert_eq!(stream.0.request(rejection(nonce)), Ok(expected), "{nonce}");
            assert_eq!(stream.due(), []);
        }
    }

    #[test]
    fn each_response_has_one_verdict_that_is_nothing_else() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        stream.ask(&["default"], &[]);
        stream.hold(holdings(&[&td.svid("/web")], &[&td]));
        let verdict = |nonce: &str| DeltaDiscoveryRequest {
            response_nonce: nonce.to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        let name = || vec!["ROOTCA".to_owned()];
        let more = DeltaDiscoveryRequest {
            resource_names_subscribe: name(),
            ..verdict("1")
        };
        let less = DeltaDiscoveryRequest {
            resource_names_unsubscribe: name(),
            ..verdict("1")
        };
        for request in [more, less, verdict(""), verdict("0"), verdict("3")] {
            assert!(!stream.0.is_verdict(&request), "{request:?}");
        }
        for nonce in ["1", "2"] {
            assert!(stream.0.is_verdict(&verdict(nonce)), "{nonce}");
            stream.0.request(verdict(nonce)).unwrap();
            assert!(!stream.0.is_verdict(&verdict(nonce)), "{nonce} again");
        }
    }

    #[test]
    fn names_are_bounded_over_all_requests_of_a_stream() {
        let td = Issuer::new("td.test");
        let mut stream = Stream::new(holdings(&[&td.svid("/web")], &[&td]));
        let request = |name: String| DeltaDiscoveryRequest {
            resource_names_subscribe: vec![name],
            ..DeltaDiscoveryRequest::default()
        };
        for number in 0..MAX_NAMES {
            assert_eq!(stream.0.request(request(number.to_string())), Ok(None));
        }
        let one_more = stream.0.request(request("x".to_owned()));
        assert_eq!(one_more, Err(Refusal::TooManyNames));
    }
}
