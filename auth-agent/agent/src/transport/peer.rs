//! What is known of the transport with one peer, and what is to be done about it. Pure.

use signet_session::Offer;

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

    /// keyd has a new key, or was started anew: what it knew of the peer is gone.
    pub(super) fn keyd_anew(&mut self, known: bool, sending: bool) {
        self.installed = None;
        self.started = None;
        self.ready = None;
        self.offered = None;
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
