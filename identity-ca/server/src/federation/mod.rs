//! Following other trust domains' bundles: the half with sockets. What is decided is decided in `signet-federation`.

mod fetch;
mod follow;
mod operators;
mod refresh;
mod trust;

pub(crate) use follow::follow;
