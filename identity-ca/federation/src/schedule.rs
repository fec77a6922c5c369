//! Who is asked when (Federation §4, §6.2).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signet_spiffe::TrustDomain;

use crate::pace::DEFAULT_INTERVAL;
use crate::relationship::Relationship;

/// When each relationship's endpoint is asked next. A failure changes nothing of that: there is no retry before the next
/// interval, so that an endpoint in trouble is not met with more.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<TrustDomain, Entry>,
}

#[derive(Debug)]
struct Entry {
    relationship: Relationship,
    interval: Duration,
    next: Next,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    At(Instant),
    /// Being asked.
    Asked,
}

impl Schedule {
    /// Takes over the relationships that there are now: new and changed ones are due at once, the others as they were.
    pub fn adopt(&mut self, relationships: Vec<Relationship>, now: Instant) {
        let mut before = std::mem::take(&mut self.entries);
        for relationship in relationships {
            let known = before.remove(relationship.trust_domain());
            let entry = match known {
                Some(entry) if entry.relationship == relationship => entry,
                Some(_) | None => Entry {
                    relationship,
                    interval: DEFAULT_INTERVAL,
                    next: Next::At(now),
                },
            };
            self.entries
                .insert(entry.relationship.trust_domain().clone(), entry);
        }
    }

    /// Whom to ask now. Each of them is not due again until [`Schedule::answered`].
    pub fn due(&mut self, now: Instant) -> Vec<Relationship> {
        let mut due = Vec::new();
        for entry in self.entries.values_mut() {
            if matches!(entry.next, Next::At(at) if at <= now) {
                entry.next = Next::Asked;
                due.push(entry.relationship.clone());
            }
        }
        due
    }

    /// An attempt is over; with the new interval where it brought a document, without where it failed.
    pub fn answered(&mut self, relationship: &Relationship, interval: Option<Duration>, now: Instant) {
        let Some(entry) = self.entries.get_mut(relationship.trust_domain()) else {
            return;
        };
        // Another one under the same name has its own turn.
        if entry.relationship == *relationship {
            entry.interval = interval.unwrap_or(entry.interval);
            entry.next = Next::At(now + entry.interval);
        }
    }

    /// When somebody is due next.
    pub fn next(&self) -> Option<Instant> {
        let times = self.entries.values().filter_map(|entry| match entry.next {
            Next::At(at) => Some(at),
            Next::Asked => None,
        });
        times.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndpointUrl, Profile};

    fn relationship(domain: &str, url: &str) -> Relationship {
        Relationship::new(
            TrustDomain::parse(domain).unwrap(),
            EndpointUrl::parse(url).unwrap(),
            Profile::HttpsWeb { authorities: None },
        )
        .unwrap()
    }

    #[test]
    fn spiffe_row_63_after_a_failure_the_next_interval_is_the_next_attempt() {
        let (start, minute) = (Instant::now(), Duration::from_mins(1));
        let b = relationship("b.example", "https://b.example/");
        let mut schedule = Schedule::default();
        schedule.adopt(vec![b.clone()], start);
        assert_eq!(schedule.due(start), std::slice::from_ref(&b), "a new one waits");
        assert!(schedule.due(start + minute).is_empty(), "asked twice at a time");
        assert_eq!(schedule.next(), None);
        schedule.answered(&b, Some(minute), start);
        assert_eq!(schedule.next(), Some(start + minute));
        assert!(schedule.due(start + minute / 2).is_empty());
        assert_eq!(schedule.due(start + minute).len(), 1);
        schedule.answered(&b, None, start + minute);
        assert_eq!(schedule.next(), Some(start + 2 * minute));
        schedule.adopt(vec![b.clone()], start + minute);
        assert_eq!(
            schedule.next(),
            Some(start + 2 * minute),
            "hearing of it again asked again"
        );
    }

    #[test]
    fn before_the_first_document_the_default_interval_counts() {
        let start = Instant::now();
        let b = relationship("b.example", "https://b.example/");
        let mut schedule = Schedule::default();
        schedule.adopt(vec![b.clone()], start);
        schedule.due(start);
        schedule.answered(&b, None, start);
        assert_eq!(schedule.next(), Some(start + DEFAULT_INTERVAL));
    }

    #[test]
    fn a_relationship_that_changed_or_went_is_not_held_to_the_old_one_s_times() {
        let start = Instant::now();
        let (old, new) = (
            relationship("b.example", "https://b.example/"),
            relationship("b.example", "https://b.example/new"),
        );
        let mut schedule = Schedule::default();
        schedule.adopt(vec![old.clone()], start);
        schedule.due(start);
        schedule.adopt(vec![new.clone()], start);
        schedule.answered(&old, Some(DEFAULT_INTERVAL), start);
        assert_eq!(schedule.due(start), std::slice::from_ref(&new));
        schedule.adopt(Vec::new(), start);
        schedule.answered(&new, Some(DEFAULT_INTERVAL), start);
        assert_eq!(schedule.next(), None);
    }
}
