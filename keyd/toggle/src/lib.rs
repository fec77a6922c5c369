//! The order in which a peer's encryption is switched, as a state machine.
