//! What is in the file: a message, and behind it the keys. Protobuf's decoder would leave copies of them that nobody wipes.

use std::collections::BTreeSet;

use prost::Message as _;
use signet_proto::agent::v1::{KeptState, KeptSvid};
use zeroize::Zeroizing;

use super::file::TAG;
use crate::svids::{Entry, SvidSet, WorkloadSvid};
use crate::view::View;

/// Serial numbers of SVIDs whose keys are somewhere.
pub(super) type Serials = BTreeSet<String>;

/// What is sealed.
#[derive(Debug)]
pub(super) struct Content {
    /// Secret.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Of the SVIDs in it.
    pub(super) serials: Serials,
    /// When the last of them ends, Unix seconds; none: there are none.
    pub(super) end: Option<i64>,
}

/// What does not decode although it was sealed here: it is of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not built as this version builds it")]
pub struct Unreadable;

/// The SVIDs that are kept: those that are valid at `now`, and whose registrations are in the view as well.
fn kept<'a>(view: &View, set: &'a SvidSet, now: i64) -> Vec<(&'a Entry, &'a WorkloadSvid)> {
    let valid = |svid: &&WorkloadSvid| svid.not_after > now;
    let entries = set.entries().iter().filter(|entry| {
        let registration = view.registration(&entry.registration.id);
        registration.is_some_and(|known| known.spiffe_id == entry.registration.spiffe_id)
            && entry.revoked.is_none()
    });
    entries
        .filter_map(|entry| Some((entry, entry.svid.as_deref().filter(valid)?)))
        .collect()
}

/// Serial numbers of the SVIDs that [`encode`] would put in.
pub(super) fn serials(view: &View, set: &SvidSet, now: i64) -> Serials {
    let kept = kept(view, set, now);
    kept.iter().map(|(_, svid)| svid.serial.clone()).collect()
}

/// A view and SVIDs at `now`, Unix seconds.
pub(super) fn encode(view: &View, set: &SvidSet, started_with: &[u8], now: i64) -> Content {
    let kept = kept(view, set, now);
    let svids = kept.iter().map(|(entry, svid)| KeptSvid {
        registration: entry.registration.id.clone(),
        chain: svid.offer.chain().iter().map(|der| der.to_vec()).collect(),
        outdated: entry.outdated,
    });
    let message = KeptState {
        svids: svids.collect(),
        view: Some(view.whole()),
        started_with: started_with.to_vec(),
    };
    let message = message.encode_to_vec();
    let keys: Vec<&[u8]> = kept.iter().map(|(_, svid)| svid.offer.secret_key()).collect();
    // All at once: what grows leaves copies behind.
    let length = 4 + message.len() + keys.iter().map(|key| 4 + key.len()).sum::<usize>() + TAG;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    for part in std::iter::once(message.as_slice()).chain(keys) {
        // Nothing that is 4 GiB long gets into a file.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Content {
        bytes,
        serials: kept.iter().map(|(_, svid)| svid.serial.clone()).collect(),
        end: kept.iter().map(|(_, svid)| svid.not_after).max(),
    }
}

/// The message, and a key for each SVID in it.
pub(super) fn decode(bytes: &[u8]) -> Result<(KeptState, Vec<&[u8]>), Unreadable> {
    let (message, mut rest) = part(bytes).ok_or(Unreadable)?;
    let message = KeptState::decode(message).map_err(|_| Unreadable)?;
    let mut keys = Vec::new();
    for _ in &message.svids {
        let (key, behind) = part(rest).ok_or(Unreadable)?;
        keys.push(key);
        rest = behind;
    }
    if rest.is_empty() {
        Ok((message, keys))
    } else {
        Err(Unreadable)
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
