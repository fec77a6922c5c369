//! A CA whose authority has ended, or has a key that is out of reach: it starts, and says what to do.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{error, info};

use super::current::Current;
use crate::ca::Ca;

/// How long a start waits for another authority to be made in the place of one that has ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// Times pass, and nothing tells of that.
const LOOK: Duration = Duration::from_secs(5);

/// In status.
const STEP: &str = "signing";

fn signs(ca: &Ca, current: &Current) -> bool {
    let now = ca.clock.now();
    current
        .signing()
        .is_ok_and(|active| active.authority.not_before() <= now && now < active.authority.not_after())
}

/// Whether there is an authority whose time it is, or is in a moment: the rotation makes another one where that can be made without
/// anybody's doing.
pub(crate) async fn signs_soon(ca: &Ca) -> bool {
    let current = ca.signing.latest();
    if signs(ca, &current) {
        return true;
    }
    if let Err(why) = current.signing() {
        let what = format!(
            "the key of the authority that signs cannot be used here ({why}): this CA issues nothing and serves no node, who go to others; the \
             bundle, operators and federation are served. It is tried again every few seconds. Bring back what has the key; if it is lost, let \
             another one take over: `signet ca authority prepare x509`, then `activate x509`"
        );
        error!("{what}");
        ca.signing.note_trouble(STEP, Some(what));
        return false;
    }
    let what = "the authority that signs has ended, or its time has not come: no certificate is issued, and no node is served. If the clock is \
                right, another one has to take over: `signet ca authority list` shows them, `signet ca authority prepare x509` and `activate x509` make \
                one (with --upstream files: `csr` and `import`); nodes that do not have its root get the new bundle (`signet ca bundle`)";
    ca.signing.note_trouble(STEP, Some(what.to_owned()));
    error!("{what}");
    ca.signing.due.notify_one();
    timeout(PATIENCE, until_it_signs(ca)).await.is_ok()
}

/// Waits for one whose time it is.
pub(crate) async fn until_it_signs(ca: &Ca) {
    let mut authorities = ca.signing.watch();
    loop {
        let does = signs(ca, &authorities.borrow_and_update());
        if does {
            break;
        }
        tokio::select! {
            changed = authorities.changed() => if changed.is_err() {
                return;
            },
            () = sleep(LOOK) => {}
        }
    }
    if ca.signing.note_trouble(STEP, None) {
        info!("an authority signs again");
    }
}
