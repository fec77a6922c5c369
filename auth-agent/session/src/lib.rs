//! The node session protocol, as a state machine without sockets.
