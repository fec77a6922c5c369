//! One peer's way from plaintext to ciphertext and back.

use crate::Mode;

/// Where a peer stands. See the crate's documentation for the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Not in the device; plaintext.
    #[default]
    Off,
    /// In the device; we send plaintext.
    Receiving,
    /// In the device; we send encrypted, and the peer said that it can receive.
    Sending,
    /// In the device with a key that the peer has not confirmed; we send encrypted.
    Rekeying,
    /// Not in the device; the kernel sends encrypted into it, and the packets are lost.
    Held,
}

impl State {
    /// Whether the device has the peer.
    pub const fn is_installed(self) -> bool {
        matches!(self, Self::Receiving | Self::Sending | Self::Rekeying)
    }

    /// Whether the kernel sends into the tunnel.
    pub const fn is_encrypting(self) -> bool {
        matches!(self, Self::Sending | Self::Rekeying | Self::Held)
    }

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Receiving => "receiving",
            Self::Sending => "sending",
            Self::Rekeying => "rekeying",
            Self::Held => "held",
        }
    }
}

/// How an installed key relates to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The peer is in the device under this key already.
    Same,
    /// The peer is new or has another key.
    Changed,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The peer's offer came.
    Install(Key),
    /// The peer said that it can receive from us.
    Ready,
    /// Encryption towards the peer is to end.
    Stop,
    /// The peer sends encrypted no more, or is no node of ours any more.
    Remove,
    /// Our device is gone, with its key and its peers.
    DeviceLost,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Put the peer into the device, or change it there.
    PutPeer,
    /// Tell the kernel to send into the tunnel.
    SendEncrypted,
    /// Tell the kernel to send plaintext.
    SendPlain,
    /// Take the peer out of the device.
    DropPeer,
}

/// What an input leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state once all effects are done.
    pub next: State,
    /// To be done in this order. If one fails the state stays what it was, and the input may be given again.
    pub effects: &'static [Effect],
}

/// Why an input is refused. Nothing changes then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Encryption is off.
    #[error("encryption is off on this node: set the mode first")]
    ModeOff,
    /// The peer is not in the device.
    #[error("the peer is not installed: install it first")]
    NotInstalled,
}

/// The state machine of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    state: State,
}

impl Peer {
    /// The peer as a starting daemon finds it: in the device or not, and with the kernel sending into the tunnel or
    /// not.
    pub const fn found(installed: bool, encrypting: bool) -> Self {
        let state = match (installed, encrypting) {
            (false, false) => State::Off,
            (false, true) => State::Held,
            (true, false) => State::Receiving,
            (true, true) => State::Sending,
        };
        Self { state }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What `input` leads to. The caller does the effects and then gives the step to [`Peer::commit`].
    ///
    /// # Errors
    /// A [`Refusal`] where the order is wrong. Inputs that change nothing are no error: each may be repeated.
    #[expect(clippy::match_same_arms, reason = "one row for each transition")]
    pub fn step(&self, mode: Mode, input: Input) -> Result<Step, Refusal> {
        use Effect::{DropPeer, PutPeer, SendEncrypted, SendPlain};
        let (next, effects): (_, &'static [Effect]) = match (input, self.state) {
            (Input::Install(_) | Input::Ready, _) if mode == Mode::Off => return Err(Refusal::ModeOff),

            (Input::Install(_), State::Off | State::Receiving) => (State::Receiving, &[PutPeer]),
            (Input::Install(Key::Same), State::Sending) => (State::Sending, &[PutPeer]),
            (Input::Install(Key::Same), State::Rekeying)
            | (Input::Install(Key::Changed), State::Sending | State::Rekeying)
            | (Input::Install(_), State::Held) => (State::Rekeying, &[PutPeer]),

            (Input::Ready, State::Off | State::Held) => return Err(Refusal::NotInstalled),
            (Input::Ready, State::Receiving | State::Sending | State::Rekeying) => {
                (State::Sending, &[SendEncrypted])
            }

            (Input::Stop, State::Off) => (State::Off, &[]),
            (Input::Stop, State::Held) => (State::Off, &[SendPlain]),
            (Input::Stop, State::Receiving | State::Sending | State::Rekeying) => {
                (State::Receiving, &[SendPlain])
            }

            (Input::Remove, State::Off) => (State::Off, &[]),
            (Input::Remove, State::Held) => (State::Off, &[SendPlain]),
            (Input::Remove, State::Receiving | State::Sending | State::Rekeying) => {
                (State::Off, &[SendPlain, DropPeer])
            }

            (Input::DeviceLost, State::Off | State::Receiving) => (State::Off, &[]),
            (Input::DeviceLost, State::Sending | State::Rekeying | State::Held) => (State::Held, &[]),
        };
        Ok(Step { next, effects })
    }

    /// The step's effects are done.
    pub fn commit(&mut self, step: Step) {
        self.state = step.next;
    }
}
