//! The state machine against a model of the world that it steers: a device, the kernel's send flag, and the peer.

#![expect(
    clippy::expect_used,
    clippy::struct_excessive_bools,
    reason = "a model of flags, in a test"
)]

use proptest::prelude::*;
use signet_toggle::{Effect, Input, Key, Mode, Peer, Refusal, State};

/// What a driver can do, in any order, sensible or not.
#[derive(Clone, Copy, Debug)]
enum Act {
    SetMode(Mode),
    Install(Key),
    Ready,
    Stop,
    Remove,
    LoseDevice,
    /// The daemon is killed; its device lives on (kernel) or not (user space).
    Restart {
        device_survives: bool,
    },
    /// The next effect fails.
    Fail,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        prop_oneof![Just(Mode::Off), Just(Mode::WireGuard)].prop_map(Act::SetMode),
        prop_oneof![Just(Key::Same), Just(Key::Changed)].prop_map(Act::Install),
        Just(Act::Ready),
        Just(Act::Stop),
        Just(Act::Remove),
        Just(Act::LoseDevice),
        any::<bool>().prop_map(|device_survives| Act::Restart { device_survives }),
        Just(Act::Fail),
    ]
}

/// The world outside of the machine.
#[derive(Debug, Default)]
struct World {
    mode: Mode,
    in_device: bool,
    send_encrypted: bool,
    /// The peer has confirmed, at least once since it was last off, that it can receive.
    confirmed: bool,
    fail_next: bool,
}

impl World {
    fn apply(&mut self, effect: Effect) -> bool {
        if std::mem::take(&mut self.fail_next) {
            return false;
        }
        match effect {
            Effect::PutPeer => self.in_device = true,
            Effect::SendEncrypted => self.send_encrypted = true,
            Effect::SendPlain => self.send_encrypted = false,
            Effect::DropPeer => {
                assert!(
                    !self.send_encrypted,
                    "a peer is dropped while packets for it go into the tunnel"
                );
                self.in_device = false;
            }
        }
        true
    }

    /// Gives the machine one input, as the daemon does. Says whether it was accepted and done.
    fn give(&mut self, peer: &mut Peer, input: Input) -> Result<bool, Refusal> {
        let before = peer.state();
        let step = peer.step(self.mode, input)?;
        for effect in step.effects {
            if !self.apply(*effect) {
                assert_eq!(peer.state(), before);
                return Ok(false);
            }
        }
        peer.commit(step);
        Ok(true)
    }
}

fn run(acts: &[Act]) {
    let mut world = World::default();
    let mut peer = Peer::default();
    for act in acts {
        let was_encrypting = world.send_encrypted;
        let mut may_go_plain = false;
        match *act {
            Act::SetMode(mode) => world.mode = mode,
            Act::Install(key) => drop(world.give(&mut peer, Input::Install(key))),
            Act::Ready => {
                let installed = world.in_device;
                match world.give(&mut peer, Input::Ready) {
                    Ok(true) => {
                        assert!(installed, "sends to a peer that is not in the device");
                        world.confirmed = true;
                    }
                    Ok(false) => {}
                    Err(Refusal::ModeOff) => assert_eq!(world.mode, Mode::Off),
                    Err(Refusal::NotInstalled) => assert!(!peer.state().is_installed()),
                }
            }
            Act::Stop | Act::Remove => {
                may_go_plain = true;
                let input = if matches!(act, Act::Stop) {
                    Input::Stop
                } else {
                    Input::Remove
                };
                let done = world.give(&mut peer, input).expect("stopping is never refused");
                if done {
                    assert!(!world.send_encrypted);
                    world.confirmed = false;
                }
            }
            Act::LoseDevice => {
                world.in_device = false;
                world
                    .give(&mut peer, Input::DeviceLost)
                    .expect("a fact is never refused");
            }
            Act::Restart { device_survives } => {
                world.in_device &= device_survives;
                peer = Peer::found(world.in_device, world.send_encrypted);
            }
            Act::Fail => world.fail_next = true,
        }
        // Never encrypted before the peer said that it is ready.
        assert!(
            !world.send_encrypted || world.confirmed,
            "encrypts unasked after {act:?}"
        );
        // Never back to plaintext unless somebody said so.
        assert!(
            !was_encrypting || world.send_encrypted || may_go_plain,
            "fell back to plaintext on {act:?}"
        );
        // A state says no more than what is so. (Effects that were done before one failed may be ahead of it.)
        assert!(
            !peer.state().is_installed() || world.in_device,
            "{:?} without a peer in the device",
            peer.state()
        );
        assert!(
            !world.send_encrypted || peer.state() != State::Off,
            "encrypts towards a peer that is off"
        );
    }
    // From anywhere, the way down always works.
    world.fail_next = false;
    assert_eq!(world.give(&mut peer, Input::Stop), Ok(true));
    assert_eq!(world.give(&mut peer, Input::Remove), Ok(true));
    assert_eq!(
        (peer.state(), world.send_encrypted, world.in_device),
        (State::Off, false, false)
    );
    // And the way up.
    world.mode = Mode::WireGuard;
    for (input, state) in [
        (Input::Install(Key::Changed), State::Receiving),
        (Input::Ready, State::Sending),
        (Input::Ready, State::Sending),
        (Input::Install(Key::Changed), State::Rekeying),
        (Input::Ready, State::Sending),
        (Input::Stop, State::Receiving),
        (Input::Remove, State::Off),
    ] {
        assert_eq!(world.give(&mut peer, input), Ok(true));
        assert_eq!(peer.state(), state, "after {input:?}");
    }
}

proptest! {
    #[test]
    fn no_order_of_requests_crashes_or_failures_breaks_the_rules(acts in proptest::collection::vec(act(), 0..64)) {
        run(&acts);
    }
}

#[test]
fn ready_before_install_is_refused() {
    let peer = Peer::default();
    assert_eq!(
        peer.step(Mode::WireGuard, Input::Ready),
        Err(Refusal::NotInstalled)
    );
}

#[test]
fn nothing_starts_while_the_mode_is_off() {
    let peer = Peer::found(true, false);
    assert_eq!(peer.step(Mode::Off, Input::Ready), Err(Refusal::ModeOff));
    assert_eq!(
        peer.step(Mode::Off, Input::Install(Key::Changed)),
        Err(Refusal::ModeOff)
    );
}

#[test]
fn a_held_peer_is_held_until_it_is_ready_again() {
    let mut peer = Peer::found(false, true);
    assert_eq!(
        peer.step(Mode::WireGuard, Input::Ready),
        Err(Refusal::NotInstalled)
    );
    let step = peer.step(Mode::WireGuard, Input::Install(Key::Changed)).unwrap();
    assert!(!step.effects.contains(&Effect::SendPlain));
    peer.commit(step);
    assert_eq!(peer.state(), State::Rekeying);
}
