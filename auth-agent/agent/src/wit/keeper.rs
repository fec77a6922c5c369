//! Asks for WIT-SVIDs, and gives them to the Workload API.

use std::sync::Arc;
use std::time::Duration;

use signet_workload_api::WitOffers;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::issue::{Held, IssueError, issue};
use super::table::{Now, Table};
use crate::ca::NodeAccess;
use crate::clock::{random, unix_now};
use crate::mesh::Endpoints;
use crate::renewal::LOOK;
use crate::status::Status;
use crate::svids::WorkloadSource;
use crate::tasks::Tasks;
use crate::view::{Registration, View};

/// Tokens asked for at a time.
const AT_ONCE: usize = 4;
/// Pause before one is replaced that has come from a tainted authority.
const TAINTED: Duration = Duration::from_secs(1);
/// Shortest sleep.
const MOMENT: Duration = Duration::from_millis(100);

type Flights = Tasks<Arc<Registration>, Result<Held, IssueError>>;

/// Keeps the WIT-SVIDs of this node's registrations.
#[derive(Debug)]
pub struct WitKeeper {
    view: watch::Receiver<Option<Arc<View>>>,
    access: watch::Receiver<Option<Arc<NodeAccess>>>,
    endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
    workloads: Arc<WorkloadSource>,
    status: Arc<Status>,
}

impl WitKeeper {
    /// Nothing yet.
    pub fn new(
        view: watch::Receiver<Option<Arc<View>>>,
        access: watch::Receiver<Option<Arc<NodeAccess>>>,
        endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
        workloads: &Arc<WorkloadSource>,
        status: &Arc<Status>,
    ) -> Self {
        Self {
            view,
            access,
            endpoints,
            workloads: Arc::clone(workloads),
            status: Arc::clone(status),
        }
    }

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
                changed = self.endpoints.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_view(&mut table);
                }
                changed = self.access.changed() => if changed.is_err() { return },
                Some((registration, result)) = flights.next(), if !flights.is_empty() => {
                    let result = result.unwrap_or_else(|fault| Err(fault.into()));
                    self.take_outcome(&mut table, &registration, result);
                }
                () = sleep_until(wake) => {
                    let (unix, now) = (unix_now(), Instant::now().into_std());
                    table.overtake(unix, now);
                    if !table.expire(unix, now) {
                        continue;
                    }
                }
            }
            self.publish(&table);
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
            let bundles = view.wit_bundles().clone();
            let asking = issue(access.channel.clone(), bundles, registration.clone());
            flights.spawn(registration, asking);
        }
    }

    fn take_view(&mut self, table: &mut Table) {
        let Some(view) = self.view.borrow_and_update().clone() else {
            return;
        };
        let endpoints = self.endpoints.borrow_and_update().clone();
        // As with certificates: no keys for an endpoint that this node does not have.
        let here = |registration: &&Arc<Registration>| {
            let mut wanted = registration.selectors.endpoints();
            match &endpoints {
                Some(endpoints) => wanted.all(|name| endpoints.has_named(name)),
                None => wanted.next().is_none(),
            }
        };
        let registrations: Vec<_> = view.registrations().filter(here).cloned().collect();
        let now = Instant::now().into_std();
        table.aim_for(view.availability_target());
        table.set(&registrations, now);
        table.review(view.revocations(), view.wit_bundles(), now);
        table.taint(view.tainted(), now);
    }

    fn take_outcome(&self, table: &mut Table, registration: &Registration, result: Result<Held, IssueError>) {
        let id = &registration.spiffe_id;
        let now = Now {
            clock: Instant::now().into_std(),
            unix: unix_now(),
            random: random(),
        };
        let Some(view) = self.view.borrow().clone() else {
            return;
        };
        let bundles = view.wit_bundles();
        match result {
            Ok(held) => {
                tracing::debug!(svid.id = %id, svid.not_after = held.ends(), "issued a WIT-SVID");
                table.finished(registration, Ok(held), bundles, now);
            }
            Err(error) => {
                table.finished(registration, Err(&error), bundles, now);
                let error = anyhow::Error::from(error).context(format!("a WIT-SVID of {id}"));
                self.status.fail("wit-svid", &error);
            }
        }
        // What was asked for before its authority was tainted.
        table.taint(view.tainted(), now.clock + TAINTED);
    }

    fn publish(&self, table: &Table) {
        let Some(view) = self.view.borrow().clone() else {
            return;
        };
        self.workloads.set_wits(Arc::new(WitOffers {
            svids: table.svids(),
            taken_back: Arc::new(table.taken_back()),
            bundles: view.wit_bundles().clone(),
            federated: view.foreign_wit_bundles().clone(),
        }));
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
    earliest.max(now + MOMENT).min(now + LOOK)
}
