use futures::stream::BoxStream;
use signet_tls::{BundleSource, SvidKeyPair};

/// What the agent is for its brokers. Its [`BundleSource`] is what brokers are verified against: the own trust domain's
/// bundle alone, with what is revoked.
pub trait Host: BundleSource + 'static {
    /// What the endpoint shows of itself: the node's SVID of the moment. `None` while there is none: brokers are turned away.
    fn identity(&self) -> Option<SvidKeyPair>;

    /// Says each time that the bundles or what is revoked may have changed. From the call on: nothing falls between it and
    /// the stream's first item.
    fn changes(&self) -> BoxStream<'static, ()>;
}
