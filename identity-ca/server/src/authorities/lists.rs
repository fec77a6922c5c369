//! Revocation lists: one of each authority in the bundle. Verifiers that have any list of a trust domain want one of every
//! authority whose certificates they meet.

use std::sync::Arc;
use std::time::Duration;

use signet_authority::{IssueError, RevocationList, RevokedSerial};
use signet_rotation::State;
use signet_spiffe::{KeyId, UnixTime};
use tokio::task::spawn_blocking;

use super::current::Current;

/// The lists of all authorities that can sign one, that of the active one first.
#[derive(Debug)]
pub(crate) struct Lists(pub(crate) Vec<(KeyId, RevocationList)>);

impl Lists {
    /// Signs them. It is not taken down which authority signed a certificate, so each names all that are revoked: serial numbers are
    /// unique among all. One that has not signed yet names none.
    pub(crate) async fn sign(
        current: Arc<Current>,
        revoked: Vec<RevokedSerial>,
        number: u64,
        now: UnixTime,
        life: Duration,
    ) -> Result<Self, IssueError> {
        // Some have megabytes.
        let signing = spawn_blocking(move || {
            let (active, others): (Vec<_>, Vec<_>) =
                current.x509.iter().partition(|one| one.state == State::Active);
            let mut lists = Vec::new();
            for one in active.into_iter().chain(others) {
                let named: &[RevokedSerial] = match one.state {
                    State::Prepared => &[],
                    State::Active | State::Old | State::Tainted | State::Retired | State::Revoked => &revoked,
                };
                match one.authority.revocation_list(named, number, now, life) {
                    Ok(list) => lists.push((one.authority.key_id().clone(), list)),
                    // What it signed has ended with it.
                    Err(IssueError::RootNotValid) if one.state != State::Active => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(Self(lists))
        });
        match signing.await {
            Ok(lists) => lists,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
