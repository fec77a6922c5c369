//! A CA below another one.

mod agent;
mod followed;
mod hostile;
mod permission;
mod signed;
mod stage;
