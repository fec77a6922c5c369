//! Port 4250.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signet_telemetry::Throttle;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::establish::accept;
use super::manager::Sessions;
use crate::pairs::chain;

/// Pause after a failed accept (no descriptors left), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// What strangers can make the agent log, and in what time.
const TOLD: u32 = 10;
const TOLD_PER: Duration = Duration::from_secs(10);

/// Bounds connections that have not said hello yet: all together, and from one address.
#[derive(Debug)]
pub struct Gate {
    total: usize,
    per_address: usize,
    pending: Mutex<HashMap<IpAddr, usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(128, 16)
    }
}

impl Gate {
    /// A gate with these bounds.
    pub fn new(total: usize, per_address: usize) -> Self {
        Self {
            total,
            per_address,
            pending: Mutex::default(),
        }
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let mut pending = self.lock();
        let total: usize = pending.values().sum();
        let from_here = pending.get(&address).copied().unwrap_or(0);
        if total >= self.total || from_here >= self.per_address {
            return None;
        }
        pending.insert(address, from_here + 1);
        Some(Pass {
            gate: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place behind the gate.
struct Pass {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut pending = self.gate.lock();
        if let Some(count) = pending.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                pending.remove(&self.address);
            }
        }
    }
}

/// Accepts for ever. A connection has its deadlines from the first byte on, and holds up no other.
pub async fn listen(listener: TcpListener, sessions: Arc<Sessions>, gate: Arc<Gate>) {
    let refusals = Arc::new(Throttle::new(TOLD, TOLD_PER));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(untold) = refusals.admit(Instant::now()) {
                    tracing::warn!(%error, untold, "cannot accept a connection");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let Some(pass) = gate.enter(address.ip()) else {
            tracing::debug!(peer.address = %address, "too many connections without a hello; closed one");
            continue;
        };
        let (sessions, refusals) = (sessions.clone(), Arc::clone(&refusals));
        tokio::spawn(async move {
            match accept(&sessions.context, stream, address).await {
                Ok(fresh) => sessions.install(fresh),
                // Anybody can make this happen, so it is not always told.
                Err(error) => {
                    if let Some(untold) = refusals.admit(Instant::now()) {
                        tracing::warn!(peer.address = %address, error = chain(&error), untold, "refused a node session");
                    }
                }
            }
            drop(pass);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_bounds_each_address_and_all_together_and_lets_in_again() {
        let gate = Arc::new(Gate::new(3, 2));
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let first = gate.enter(address(1)).expect("free");
        let _second = gate.enter(address(1)).expect("free");
        assert!(gate.enter(address(1)).is_none(), "per address");
        let _third = gate.enter(address(2)).expect("free");
        assert!(gate.enter(address(3)).is_none(), "all together");
        drop(first);
        assert!(gate.enter(address(1)).is_some());
    }
}
