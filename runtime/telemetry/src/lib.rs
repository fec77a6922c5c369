//! Logging set-up shared by the daemons.
