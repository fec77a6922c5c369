//! The toggle itself: what this node's device is for at the moment.

/// What the cluster wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Plaintext.
    #[default]
    Off,
    /// Node-level WireGuard.
    WireGuard,
}

/// What is to be done about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeStep {
    /// Nothing.
    Keep,
    /// Make the device, with a key.
    OpenDevice,
    /// Take the device and its key away: the mode is off and no peer is left.
    CloseDevice,
}

/// The wanted mode, and whether the device is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    mode: Mode,
    device: bool,
}

impl Switch {
    /// The switch of a daemon that found `device` (or not) when it started.
    pub fn found(mode: Mode, device: bool) -> Self {
        Self { mode, device }
    }

    /// The wanted mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The cluster wants `mode`.
    pub fn set(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// The device was opened (`true`), or it was closed or lost (`false`).
    pub fn device_is(&mut self, there: bool) {
        self.device = there;
    }

    /// What is to be done now, while `peers` peers are not [`crate::State::Off`].
    ///
    /// A device outlives "off" for as long as a peer is left: that peer may still send encrypted.
    pub fn step(&self, peers: usize) -> ModeStep {
        match (self.mode, self.device, peers) {
            (Mode::WireGuard, false, _) => ModeStep::OpenDevice,
            (Mode::Off, true, 0) => ModeStep::CloseDevice,
            (Mode::WireGuard, true, _) | (Mode::Off, _, _) => ModeStep::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_comes_with_the_mode_and_goes_with_the_last_peer() {
        let mut switch = Switch::default();
        assert_eq!(switch.step(0), ModeStep::Keep);
        switch.set(Mode::WireGuard);
        assert_eq!(switch.step(0), ModeStep::OpenDevice);
        switch.device_is(true);
        assert_eq!(switch.step(2), ModeStep::Keep);
        switch.set(Mode::Off);
        assert_eq!(switch.step(1), ModeStep::Keep, "a peer may still send encrypted");
        assert_eq!(switch.step(0), ModeStep::CloseDevice);
    }

    #[test]
    fn a_lost_device_is_made_again_while_the_mode_is_on_only() {
        let mut switch = Switch::found(Mode::WireGuard, true);
        switch.device_is(false);
        assert_eq!(switch.step(3), ModeStep::OpenDevice);
        switch.set(Mode::Off);
        assert_eq!(switch.step(0), ModeStep::Keep);
    }
}
