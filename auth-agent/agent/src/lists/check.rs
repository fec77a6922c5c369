//! Whether a list is one to give out. Pure.

use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::{AuthorityCrl, GetCrlResponse};
use signet_sds::LONGEST_LIST;
use signet_spiffe::{KeyId, TrustDomain};
use signet_workload_api::{Beside, RevocationList};

/// How long before its end a list is given out no more: none of those who have it may still have it then.
const MARGIN: i64 = 120;

/// A list that may be given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) list: Arc<RevocationList>,
    /// Unix seconds; from then on it may not be given out.
    pub(super) end: i64,
}

/// Why a list is not given out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ListError {
    /// It lacks what this node has heard of.
    #[error("the CA's revocation list is of revision {number}, and revision {needed} is needed")]
    Old {
        /// Its number.
        number: u64,
        /// What this node has heard of.
        needed: u64,
    },
    /// By this node's clock it does not count yet, or hardly any more.
    #[error("by this node's clock the CA's revocation list does not count now; set both clocks")]
    Clock,
    /// Too long.
    #[error(
        "the CA's revocation list has {0} bytes, at most {LONGEST_LIST} fit into a message to an Envoy: none is told of it, and an earlier list goes at its end"
    )]
    TooLong(usize),
}

impl Held {
    /// Checks what the CA sent, which it was asked for at this revision of the view or later.
    pub(super) fn new(
        answer: GetCrlResponse,
        trust_domain: &TrustDomain,
        needed: u64,
        now: i64,
    ) -> Result<Self, ListError> {
        if answer.number < needed {
            let number = answer.number;
            return Err(ListError::Old { number, needed });
        }
        let end = answer.next_update.saturating_sub(MARGIN);
        if now < answer.this_update || now >= end {
            return Err(ListError::Clock);
        }
        let beside = beside(answer.lists, &answer.der);
        let length = answer.der.len() + beside.lists.iter().map(Vec::len).sum::<usize>();
        if length > LONGEST_LIST {
            return Err(ListError::TooLong(length));
        }
        let list = Arc::new(RevocationList {
            trust_domain: trust_domain.clone(),
            der: answer.der,
            beside,
        });
        Ok(Self { list, end })
    }

    /// How long it may still be given out.
    pub(super) fn left(&self, now: i64) -> Duration {
        Duration::from_secs(u64::try_from(self.end.saturating_sub(now)).unwrap_or(0))
    }
}

/// Lists of the other authorities. A CA of an earlier version tells of none.
fn beside(lists: Vec<AuthorityCrl>, first: &[u8]) -> Beside {
    let mut beside = Beside::default();
    for list in lists {
        if let Ok(authority) = KeyId::new(&list.authority) {
            beside.authorities.insert(authority);
        }
        if list.der != first {
            beside.lists.push(list.der);
        }
    }
    beside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> GetCrlResponse {
        GetCrlResponse {
            der: vec![1],
            number: 7,
            this_update: 1000,
            next_update: 5000,
            ..GetCrlResponse::default()
        }
    }

    fn check(answer: GetCrlResponse, needed: u64, now: i64) -> Result<Held, ListError> {
        let domain = TrustDomain::parse("t.example").expect("valid");
        Held::new(answer, &domain, needed, now)
    }

    #[test]
    fn a_list_is_given_out_from_its_beginning_until_well_before_its_end() {
        for (now, is_good) in [
            (999, false),
            (1000, true),
            (4879, true),
            (4880, false),
            (5000, false),
        ] {
            assert_eq!(check(answer(), 7, now).is_ok(), is_good, "{now}");
        }
        let held = check(answer(), 7, 4000).expect("good");
        assert_eq!(held.left(4000), Duration::from_secs(880));
        assert_eq!(held.left(9000), Duration::ZERO);
    }

    #[test]
    fn lists_of_all_authorities_are_taken_together() {
        let crl = |authority, der| AuthorityCrl {
            authority: vec![authority],
            der: vec![der],
        };
        let several = GetCrlResponse {
            lists: vec![crl(7, 1), crl(8, 2)],
            ..answer()
        };
        let list = check(several, 7, 2000).expect("good").list;
        assert_eq!(list.all().collect::<Vec<_>>(), [[1], [2]]);
        assert_eq!(list.beside.authorities.len(), 2);
        let long = GetCrlResponse {
            lists: vec![
                crl(7, 1),
                AuthorityCrl {
                    authority: vec![8],
                    der: vec![0; LONGEST_LIST],
                },
            ],
            ..answer()
        };
        assert_eq!(check(long, 7, 2000), Err(ListError::TooLong(LONGEST_LIST + 1)));
    }

    #[test]
    fn a_list_that_is_older_than_the_view_or_too_long_is_not_taken() {
        let old = ListError::Old { number: 7, needed: 8 };
        assert_eq!(check(answer(), 8, 2000), Err(old));
        let longest = GetCrlResponse {
            der: vec![0; LONGEST_LIST],
            ..answer()
        };
        assert!(check(longest, 7, 2000).is_ok());
        let long = GetCrlResponse {
            der: vec![0; LONGEST_LIST + 1],
            ..answer()
        };
        assert_eq!(check(long, 7, 2000), Err(ListError::TooLong(LONGEST_LIST + 1)));
    }
}
