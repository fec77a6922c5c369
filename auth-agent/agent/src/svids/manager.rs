//! Keeps the SVIDs of this node's registrations.

use std::sync::Arc;
use std::time::Duration;

use signet_handshake::Credentials;
use signet_workload_api::{Offers, RevocationList};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::issue::{IssueError, Issuer, WorkloadSvid};
use super::offers::{WorkloadSource, offers};
use super::set::SvidSet;
use super::table::Table;
use crate::ca::NodeAccess;
use crate::clock::{random, unix_now};
use crate::custody::RestoredSvid;
use crate::mesh::Endpoints;
use crate::renewal::LOOK;
use crate::status::Status;
use crate::tasks::Tasks;
use crate::view::{Registration, View};

/// Certificates asked for at a time.
const AT_ONCE: usize = 8;
/// Pause before an SVID is replaced that has come from a tainted authority.
const TAINTED: Duration = Duration::from_secs(1);
type Flights = Tasks<Arc<Registration>, Result<WorkloadSvid, IssueError>>;

/// Keeps the SVIDs of this node's registrations.
#[derive(Debug)]
pub struct Manager {
    /// Whose registrations.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// Who certifies.
    pub access: watch::Receiver<Option<Arc<NodeAccess>>>,
    /// For the Workload API's attestation.
    pub endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
    /// For workloads that check certificates by themselves.
    pub revocation_list: watch::Receiver<Option<Arc<RevocationList>>>,
    /// For handshakes and people.
    pub publish: watch::Sender<Arc<SvidSet>>,
    /// For workloads.
    pub workloads: Arc<WorkloadSource>,
    /// Of the life before, for its view, which comes first.
    pub restored: Vec<RestoredSvid>,
    /// For people.
    pub status: Arc<Status>,
}

impl Manager {
    /// Runs until the view's owner has gone.
    pub async fn run(mut self) {
        let mut table = Table::default();
        let mut flights = Flights::default();
        loop {
            self.issue_due(&mut table, &mut flights);
            let wake = wake(&table, flights.len());
            tokio::select! {
                changed = self.view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_view(&mut table);
                }
                changed = self.access.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.publish_set(&table);
                }
                changed = self.endpoints.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_endpoints(&mut table);
                }
                changed = self.revocation_list.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.revocation_list.mark_unchanged();
                    self.publish_offers(&table);
                }
                Some((registration, result)) = flights.next(), if !flights.is_empty() => {
                    let result = result.unwrap_or_else(|fault| Err(fault.into()));
                    self.take_outcome(&mut table, &registration, result);
                    // What was asked for before its authority was tainted.
                    if let Some(view) = &*self.view.borrow() {
                        table.taint(view.tainted(), (Instant::now() + TAINTED).into_std());
                    }
                    self.publish(&table);
                }
                () = sleep_until(wake) => {
                    let (unix, now) = (unix_now(), Instant::now().into_std());
                    table.overtake(unix, now);
                    if table.expire(unix, now) {
                        self.publish(&table);
                    }
                }
            }
        }
    }

    fn issue_due(&self, table: &mut Table, flights: &mut Flights) {
        let (Some(view), Some(access)) = (self.view.borrow().clone(), self.access.borrow().clone()) else {
            return;
        };
        // Verification would refuse whatever came. The view's next change brings us here again.
        if view.revocations().set().unreadable().is_some() {
            return;
        }
        let room = AT_ONCE.saturating_sub(flights.len());
        for registration in table.take_due(room, Instant::now().into_std()) {
            let issuer = Issuer {
                channel: access.channel.clone(),
                bundles: view.bundles().clone(),
            };
            flights.spawn(registration.clone(), issuer.issue(registration));
        }
    }

    fn take_endpoints(&mut self, table: &mut Table) {
        let Some(endpoints) = self.endpoints.borrow_and_update().clone() else {
            return;
        };
        if table.house(Some(&endpoints), Instant::now().into_std()) {
            self.publish(table);
        }
        let namespaces = Arc::new(endpoints.namespaces().clone());
        self.workloads.set_endpoints(namespaces);
    }

    fn take_view(&mut self, table: &mut Table) {
        let Some(view) = self.view.borrow_and_update().clone() else {
            return;
        };
        let registrations: Vec<_> = view.registrations().cloned().collect();
        let now = Instant::now().into_std();
        table.aim_for(view.availability_target());
        table.set(&registrations, now);
        for svid in std::mem::take(&mut self.restored) {
            table.adopt(svid, now, unix_now(), random());
        }
        table.house(self.endpoints.borrow().as_deref(), now);
        if table.revoke(view.revocations(), now) {
            tracing::warn!("SVIDs of this node's workloads are revoked: their keys are gone");
        }
        table.taint(view.tainted(), now);
        if let Some(reason) = view.revocations().set().unreadable() {
            let error = anyhow::anyhow!("none is asked for while everything counts as revoked: {reason}");
            self.status.fail("svid", &error);
        }
        // Even if no registration changed, the bundle may have.
        self.publish(table);
    }

    fn take_outcome(
        &self,
        table: &mut Table,
        registration: &Arc<Registration>,
        result: Result<WorkloadSvid, IssueError>,
    ) {
        let result = match result {
            Ok(svid) => {
                tracing::debug!(svid.id = %registration.spiffe_id, svid.serial, svid.not_after, "issued an SVID");
                Ok(svid)
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                let text = format!("{error:#}");
                self.status
                    .fail("svid", &error.context(registration.spiffe_id.to_string()));
                Err(text)
            }
        };
        let view = self.view.borrow().clone();
        let revocations = view.map(|view| view.revocations().clone()).unwrap_or_default();
        table.finished(
            registration,
            result,
            &revocations,
            Instant::now().into_std(),
            unix_now(),
            random(),
        );
    }

    fn publish(&self, table: &Table) {
        self.publish_offers(table);
        self.publish_set(table);
    }

    /// With what proves to be the node itself, for its own processes.
    fn publish_set(&self, table: &Table) {
        let node = self.access.borrow().as_ref().map(|access| {
            let identity = &access.identity;
            Arc::new(Credentials::new(identity.key_pair.clone(), &identity.svid))
        });
        self.publish
            .send_replace(Arc::new(table.to_set().with_node(node)));
    }

    fn publish_offers(&self, table: &Table) {
        let Some(view) = self.view.borrow().clone() else {
            return;
        };
        match offers(&table.to_set(), &view, self.revocation_list.borrow().clone()) {
            Ok(offers) => self.workloads.set_offers(Arc::new(offers)),
            Err(error) => {
                self.workloads.set_offers(Arc::new(Offers::starting()));
                self.status.fail("workload-api", &error);
            }
        }
    }
}

fn wake(table: &Table, in_flight: usize) -> Instant {
    let now = Instant::now();
    // While all hands are busy, the next outcome wakes us.
    let due = table
        .next_due()
        .filter(|_| in_flight < AT_ONCE)
        .map(Instant::from_std);
    let expiry = table.next_expiry().map(|unix| {
        let wait = u64::try_from(unix.saturating_sub(unix_now())).unwrap_or(0);
        now + Duration::from_secs(wait)
    });
    // At least a moment: without access to the CA what is due stays due.
    let earliest = due.into_iter().chain(expiry).min().unwrap_or(now + LOOK);
    earliest.max(now + Duration::from_millis(100)).min(now + LOOK)
}
