//! Makes the device in which packets wait for their proof. signet-agent reads it, and needs no privilege for that: the device
//! is its user's, and stays when this daemon goes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{Handle, LinkUnspec};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use signet_abi::PARKING_DEVICE;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::attach::chain;
use crate::links::Links;

/// Pause before it is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// Frames that wait until the agent has read them.
const QUEUE: u32 = 4096;
/// Of the frames in it, which have a prefix more than those of any link.
const MTU: u32 = 65_000;

/// Runs for ever: makes the device where it is missing. Without it, packets that lack a proof are dropped.
pub(crate) async fn keep(mut links: watch::Receiver<Option<Arc<Links>>>) {
    loop {
        let is_missing = links.borrow_and_update().as_ref().is_some_and(|links| {
            links
                .interfaces
                .keys()
                .all(|name| name.as_str() != PARKING_DEVICE)
        });
        if is_missing && let Err(error) = make().await {
            let error = chain(error.as_ref());
            tracing::warn!(
                error,
                "packets that lack a proof are dropped: there is no parking device"
            );
            sleep(RETRY).await;
            continue;
        }
        if links.changed().await.is_err() {
            return;
        }
    }
}

async fn make() -> anyhow::Result<()> {
    block_in_place(|| signet_tap::make(PARKING_DEVICE))
        .with_context(|| format!("failed to make {PARKING_DEVICE}"))?;
    let (connection, netlink, _) = rtnetlink::new_connection().context("failed to open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let result = bring_up(&netlink).await;
    connection.abort();
    result?;
    tracing::info!(device = PARKING_DEVICE, "packets that lack a proof wait");
    Ok(())
}

async fn bring_up(netlink: &Handle) -> anyhow::Result<()> {
    let mut found = netlink
        .link()
        .get()
        .match_name(PARKING_DEVICE.to_owned())
        .execute();
    let link = found
        .try_next()
        .await?
        .with_context(|| format!("{PARKING_DEVICE} is gone again"))?;
    let change = LinkUnspec::new_with_index(link.header.index)
        .mtu(MTU)
        .append_extra_attribute(LinkAttribute::TxQueueLen(QUEUE))
        .up()
        .build();
    netlink
        .link()
        .set(change)
        .execute()
        .await
        .with_context(|| format!("failed to set {PARKING_DEVICE} up"))
}

/// Takes the device away, if it is there.
pub(crate) async fn remove() -> anyhow::Result<()> {
    let (connection, netlink, _) = rtnetlink::new_connection().context("failed to open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let mut found = netlink
        .link()
        .get()
        .match_name(PARKING_DEVICE.to_owned())
        .execute();
    // An error here says that there is none.
    let result = match found.try_next().await {
        Ok(Some(link)) => netlink.link().del(link.header.index).execute().await,
        Ok(None) | Err(_) => Ok(()),
    };
    connection.abort();
    result.with_context(|| format!("failed to remove {PARKING_DEVICE}"))
}

/// What nobody can guess who has not read `CONFIG`.
pub(crate) fn secret() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}
