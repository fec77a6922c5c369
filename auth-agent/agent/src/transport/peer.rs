//! What is known of the transport with one peer, and what is to be done about it. Pure.

use std::time::{Duration, Instant};

use signet_session::Offer;

use crate::clock::backoff;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(15);

/// Keeps a step that failed from being taken again at once.
#[derive(Debug, Default)]
pub(super) struct Hold {
    until: Option<Instant>,
    failures: u32,
}

impl Hold {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    pub(super) fn failed(&mut self, now: Instant, random: u64) {
        self.until = Some(now + backoff(FIRST_RETRY, LAST_RETRY, self.failures, random));
        self.failures = self.failures.saturating_add(1);
    }
}

/// The two epochs that a peer's preshared key comes from, in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) generation: u64,
    pub(super) ours: u64,
    pub(super) theirs: u64,
}

/// What to do next with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send our offer.
    Offer,
    /// Install the peer's offer under these keys, then say so.
    Install(Keys, Offer),
    /// Say once more that the offer of this epoch is installed: the peer has asked again.
    Confirm(u64),
    /// Encrypt towards the peer.
    Start,
    /// Stop encrypting towards the peer, then say so.
    Stop,
    /// Tell the peer that we do not encrypt.
    Retire,
    /// Forget the peer's keys.
    Remove,
}

/// The transport with one peer.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact about the peer, and all combinations occur"
)]
pub(super) struct Peer {
    /// The session that is up.
    pub(super) generation: Option<u64>,
    /// Under which session and epoch our offer went out.
    pub(super) offered: Option<(u64, u64)>,
    /// The peer's offer, in this session.
    pub(super) theirs: Option<Offer>,
    /// The keys that are installed; nothing if keyd has the peer from an earlier run of ours.
    pub(super) installed: Option<Keys>,
    /// Whether keyd has the peer at all.
    pub(super) known: bool,
    /// The workload CIDRs that were installed with them.
    pub(super) allowed: Vec<String>,
    /// The peer's last offer has not been answered.
    pub(super) unanswered: bool,
    /// The epoch of ours under which the peer can receive.
    pub(super) ready: Option<u64>,
    /// Whether keyd encrypts towards the peer.
    pub(super) sending: bool,
    /// The keys under which `StartSending` was done.
    pub(super) started: Option<Keys>,
    /// `StartSending` is under way.
    pub(super) starting: bool,
    /// In which session we have said that we do not encrypt.
    pub(super) retired: Option<u64>,
    /// The peer has said that it does not encrypt.
    pub(super) they_retired: bool,
    /// The last step towards the peer failed.
    pub(super) hold: Hold,
}

impl Peer {
    /// A session is up, maybe in place of another: everything is said anew in it.
    pub(super) fn session_up(&mut self, generation: u64) {
        let same = self.generation == Some(generation);
        self.generation = Some(generation);
        if !same {
            self.theirs = None;
            self.ready = None;
            self.they_retired = false;
            self.unanswered = false;
            self.hold = Hold::default();
        }
    }

    /// The peer says how to encrypt towards it. It gets an answer each time, even to an offer that we have installed.
    pub(super) fn offered_to_us(&mut self, offer: Offer) {
        self.theirs = Some(offer);
        self.they_retired = false;
        self.unanswered = true;
    }

    /// The node's workload CIDRs are these; others than those installed have to be installed again.
    pub(super) fn set_allowed(&mut self, allowed: &[String]) {
        if self.allowed != allowed {
            self.allowed = allowed.to_vec();
            self.installed = None;
        }
    }

    /// A session is gone; keys stay as they are.
    pub(super) fn session_down(&mut self, generation: u64) {
        if self.generation == Some(generation) {
            self.generation = None;
            self.theirs = None;
            self.ready = None;
        }
    }

    /// keyd has a new key, or was away: what we know of its peers is void. What the two agents have told each other
    /// stands, for the epochs that it is about.
    pub(super) fn keyd_anew(&mut self, known: bool, sending: bool) {
        self.installed = None;
        self.started = None;
        self.known = known;
        self.sending = sending;
    }

    /// The next step while the cluster wants encryption and our half is `ours`.
    pub(super) fn next_on(&self, ours: u64) -> Option<Step> {
        let generation = self.generation?;
        if self.offered != Some((generation, ours)) {
            return Some(Step::Offer);
        }
        let theirs = self.theirs?;
        let keys = Keys {
            generation,
            ours,
            theirs: theirs.key_epoch,
        };
        if self.installed != Some(keys) {
            return Some(Step::Install(keys, theirs));
        }
        if self.unanswered {
            return Some(Step::Confirm(theirs.key_epoch));
        }
        (self.ready == Some(ours) && self.started != Some(keys) && !self.starting).then_some(Step::Start)
    }

    /// The next step while the cluster wants plaintext.
    pub(super) fn next_off(&self) -> Option<Step> {
        if self.sending || self.starting {
            return (!self.starting).then_some(Step::Stop);
        }
        if let Some(generation) = self.generation
            && self.retired != Some(generation)
        {
            return Some(Step::Retire);
        }
        // Without the peer's word its packets may still come encrypted.
        (self.known && self.they_retired).then_some(Step::Remove)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(epoch: u64) -> Offer {
        Offer {
            key_epoch: epoch,
            public_key: [1; 32],
            port: 51871,
        }
    }

    #[test]
    fn nothing_is_encrypted_before_both_can_receive() {
        let mut peer = Peer::default();
        assert_eq!(peer.next_on(5), None, "no session");
        peer.session_up(1);
        assert_eq!(peer.next_on(5), Some(Step::Offer));
        peer.offered = Some((1, 5));
        assert_eq!(peer.next_on(5), None, "the peer has said nothing yet");
        peer.ready = Some(5);
        assert_eq!(peer.next_on(5), None, "its keys are not here");
        peer.theirs = Some(offer(9));
        let keys = Keys {
            generation: 1,
            ours: 5,
            theirs: 9,
        };
        assert_eq!(peer.next_on(5), Some(Step::Install(keys, offer(9))));
        peer.installed = Some(keys);
        peer.ready = Some(4);
        assert_eq!(peer.next_on(5), None, "ready for an older key of ours");
        peer.ready = Some(5);
        assert_eq!(peer.next_on(5), Some(Step::Start));
        peer.starting = true;
        assert_eq!(peer.next_on(5), None);
    }

    #[test]
    fn every_offer_is_answered_even_one_that_is_installed() {
        let mut peer = Peer::default();
        peer.session_up(1);
        peer.offered = Some((1, 5));
        peer.offered_to_us(offer(9));
        let keys = Keys {
            generation: 1,
            ours: 5,
            theirs: 9,
        };
        assert_eq!(peer.next_on(5), Some(Step::Install(keys, offer(9))));
        peer.installed = Some(keys);
        peer.unanswered = false;
        assert_eq!(peer.next_on(5), None);
        peer.offered_to_us(offer(9));
        assert_eq!(peer.next_on(5), Some(Step::Confirm(9)));
    }

    #[test]
    fn a_keyd_that_comes_back_with_the_same_key_needs_nothing_from_the_peer() {
        let mut peer = Peer::default();
        peer.session_up(1);
        peer.offered = Some((1, 5));
        peer.theirs = Some(offer(9));
        peer.ready = Some(5);
        peer.keyd_anew(true, false);
        let keys = Keys {
            generation: 1,
            ours: 5,
            theirs: 9,
        };
        assert_eq!(peer.next_on(5), Some(Step::Install(keys, offer(9))));
        peer.installed = Some(keys);
        assert_eq!(peer.next_on(5), Some(Step::Start));
    }

    #[test]
    fn other_workload_cidrs_are_installed_anew() {
        let mut peer = Peer::default();
        let keys = Keys {
            generation: 1,
            ours: 5,
            theirs: 9,
        };
        peer.set_allowed(&["10.0.0.0/24".to_owned()]);
        peer.installed = Some(keys);
        peer.set_allowed(&["10.0.0.0/24".to_owned()]);
        assert_eq!(peer.installed, Some(keys));
        peer.set_allowed(&["10.0.1.0/24".to_owned()]);
        assert_eq!(peer.installed, None);
    }

    #[test]
    fn a_step_that_fails_is_held_longer_each_time() {
        let now = Instant::now();
        let mut hold = Hold::default();
        assert!(hold.is_over(now));
        hold.failed(now, u64::MAX);
        assert!(!hold.is_over(now) && hold.is_over(now + FIRST_RETRY));
        hold.failed(now, u64::MAX);
        assert!(!hold.is_over(now + FIRST_RETRY) && hold.is_over(now + 2 * FIRST_RETRY));
    }

    #[test]
    fn a_new_session_or_key_starts_over_without_stopping() {
        let mut peer = Peer {
            sending: true,
            ..Peer::default()
        };
        peer.session_up(1);
        peer.offered = Some((1, 5));
        peer.session_up(2);
        assert_eq!(peer.next_on(5), Some(Step::Offer));
        peer.offered = Some((2, 5));
        assert_eq!(peer.next_on(6), Some(Step::Offer), "keyd has a new key");
        assert!(peer.sending, "what is encrypted stays so");
    }

    #[test]
    fn keys_go_only_after_both_have_stopped() {
        let mut peer = Peer {
            sending: true,
            known: true,
            ..Peer::default()
        };
        peer.session_up(1);
        peer.they_retired = true;
        assert_eq!(peer.next_off(), Some(Step::Stop));
        peer.sending = false;
        assert_eq!(peer.next_off(), Some(Step::Retire));
        peer.retired = Some(1);
        peer.they_retired = false;
        assert_eq!(peer.next_off(), None, "the peer may still encrypt");
        peer.they_retired = true;
        assert_eq!(peer.next_off(), Some(Step::Remove));
        peer.known = false;
        assert_eq!(peer.next_off(), None);
    }
}
