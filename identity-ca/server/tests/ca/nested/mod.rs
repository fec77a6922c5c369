//! A CA below another one.

mod agent;
mod followed;
mod hostile;
mod permission;
mod replicas;
mod signed;
mod stage;
mod twins;
mod wit;
