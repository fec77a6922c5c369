//! The parking device: what the kernel parks is read from it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use signet_abi::{
    AuthKey, Direction, LeaseEndKey, LeaseKey, PARKING_DEVICE, ParkingTicket, Signal, SignalCause, stands_by,
    ticket_flags,
};
use signet_maps::{AuthMap, ConfigMap, LeaseEndsMap, LeasesMap, MapError, boottime_now};
use signet_parking::Parked;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};

use super::handle::Parking;
use crate::pairs::Pairs;
use crate::status::Status;

/// Pause before the device is looked for again. Until it is open, what the kernel parks is lost.
const RETRY: Duration = Duration::from_millis(50);
/// The same after a fault.
const REPAIR: Duration = Duration::from_millis(500);
/// How often packets are looked for that have waited for too long, and pairs that still wait are asked for again.
const TICK: Duration = Duration::from_millis(250);
/// Bytes of the largest frame, prefix included: the kernel parks no larger ones (`BPF_SKB_MAX_LEN`).
const FRAME: usize = 64 * 1024;

/// Why nothing is read.
#[derive(Debug, thiserror::Error)]
enum DeviceError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("the parking device {PARKING_DEVICE} cannot be used: {0}")]
    Device(#[source] io::Error),
}

/// Runs for ever: takes in what the kernel parks; opens the device when signet-meshd has made it, and anew when it was
/// replaced. Without it the kernel drops what lacks a proof.
pub async fn watch(directory: PathBuf, parking: Parking, pairs: Pairs, status: Arc<Status>) {
    loop {
        match open(&directory) {
            Ok(Some(mut reader)) => {
                tracing::info!(device = PARKING_DEVICE, "packets without a proof wait here");
                parking.lock().device = Some(reader.device.clone());
                let error = reader.read(&parking, &pairs).await;
                parking.lock().device = None;
                status.fail("parking", &anyhow::Error::from(error));
                sleep(REPAIR).await;
            }
            Ok(None) => sleep(RETRY).await,
            Err(error) => {
                status.fail("parking", &anyhow::Error::from(error));
                sleep(REPAIR).await;
            }
        }
        parking.expire();
    }
}

/// The device and the maps, when they are there.
fn open(directory: &Path) -> Result<Option<Reader>, DeviceError> {
    let config = match ConfigMap::open(directory) {
        Ok(config) => config,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Never made here: it is signet-meshd's. Once it is open signet-meshd tells the kernel programs of it.
    if !exists().map_err(DeviceError::Device)? {
        return Ok(None);
    }
    let auth = AuthMap::open(directory)?;
    let (leases, ends) = (LeasesMap::open(directory)?, LeaseEndsMap::open(directory)?);
    let device = DeviceBuilder::default()
        .name(PARKING_DEVICE)
        .layer(Layer::L2)
        .build_async()
        .map_err(DeviceError::Device)?;
    let secret = config.get()?.parking_secret;
    Ok(Some(Reader {
        directory: directory.to_owned(),
        device: Arc::new(device),
        secret,
        looked: Instant::now(),
        config,
        auth,
        leases,
        ends,
    }))
}

fn exists() -> io::Result<bool> {
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    match name_to_index(socket, PARKING_DEVICE) {
        Ok(_) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct Reader {
    directory: PathBuf,
    device: Arc<AsyncDevice>,
    secret: u64,
    /// When the secret was last read.
    looked: Instant,
    config: ConfigMap,
    auth: AuthMap,
    leases: LeasesMap,
    ends: LeaseEndsMap,
}

impl Reader {
    /// Reads until the device fails or is another one.
    async fn read(&mut self, parking: &Parking, pairs: &Pairs) -> DeviceError {
        let mut buffer = vec![0; FRAME];
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let device = self.device.clone();
        loop {
            tokio::select! {
                read = device.recv(&mut buffer) => match read {
                    Ok(length) => {
                        let frame = buffer.get(..length).unwrap_or_default();
                        if let Err(error) = self.take(frame, parking, pairs) {
                            return error;
                        }
                    }
                    Err(error) => return DeviceError::Device(error),
                },
                _ = tick.tick() => {
                    parking.expire();
                    if let Err(error) = self.review(parking) {
                        return error;
                    }
                    match self.config.get() {
                        Ok(config) => parking.lock().known = config.parking_ifindex != 0,
                        Err(error) => return error.into(),
                    }
                    for pair in parking.waiting() {
                        // Too many at once: the next tick asks again.
                        pairs.signal(signal(pair, None));
                    }
                    if let Err(error) = self.renew() {
                        return error.into();
                    }
                }
            }
        }
    }

    /// Opens the maps anew where they are others now.
    fn renew(&mut self) -> Result<(), MapError> {
        if !self.config.is_current() || !self.auth.is_current() || !self.leases.is_current() {
            self.config = ConfigMap::open(&self.directory)?;
            self.auth = AuthMap::open(&self.directory)?;
            self.leases = LeasesMap::open(&self.directory)?;
            self.ends = LeaseEndsMap::open(&self.directory)?;
        }
        Ok(())
    }

    /// Looks after what lacks a lease: it has come meanwhile, or the sender is told.
    fn review(&self, parking: &Parking) -> Result<(), DeviceError> {
        let mut state = parking.lock();
        if state.lapsed.is_empty() {
            return Ok(());
        }
        let (now, own) = (boottime_now(), self.config.get()?.node);
        let stands = |pair: &AuthKey, address: IpAddr| {
            let lease = || self.leases.get(&LeaseKey(address.into())).ok().flatten();
            let end = || self.ends.get(&LeaseEndKey(pair.node)).ok().flatten();
            // On one node there is nothing to be waited for.
            stands_by(pair, own, now, || false, lease, end)
        };
        let settled = state.lapsed.review(now, stands);
        for frame in settled.back {
            state.give_back(&frame);
        }
        for frame in settled.refused {
            state.turn_away(&frame);
        }
        Ok(())
    }

    /// Takes one frame in. What does not come from a kernel program of ours is nobody's, and dropped.
    fn take(&mut self, frame: &[u8], parking: &Parking, pairs: &Pairs) -> Result<(), DeviceError> {
        let Some(ticket) = ParkingTicket::read(frame) else {
            return Ok(());
        };
        if !self.knows(ticket.secret)? {
            return Ok(());
        }
        let pair = AuthKey {
            local: ticket.local,
            remote: ticket.remote,
            node: ticket.node,
        };
        let egress = ticket.direction == Direction::Egress as u8;
        let source = if egress { ticket.local } else { ticket.remote };
        let now = boottime_now();
        let mut state = parking.lock();
        if ticket.flags & ticket_flags::REFUSED != 0 {
            // Nothing can be waited for.
            state.turn_away(frame);
            return Ok(());
        }
        if ticket.flags & ticket_flags::LAPSED != 0 {
            if let Some(frame) = state.lapsed.hold(pair, frame, now) {
                state.turn_away(&frame);
            }
            return Ok(());
        }
        // Under the lock: what is proven after this look releases what is parked after it.
        let proven = self.auth.get(&pair)?.is_some_and(|proof| now < proof.not_after);
        if proven && !state.lot.holds(&pair) {
            state.lot.pass();
            state.give_back(frame);
            return Ok(());
        }
        let parked = state.lot.park(pair, source, frame.to_vec(), now);
        if parked.is_err() {
            state.give_back(frame);
        }
        for evicted in state.lot.evicted() {
            state.give_back(&evicted);
        }
        drop(state);
        if parked == Ok(Parked::First) {
            // The kernel has signalled; but signals can be lost.
            pairs.signal(signal(pair, Some(now)));
        }
        Ok(())
    }

    /// Whether this is what kernel programs write. It changes with the settings, so a wrong one is a reason to read them again;
    /// not more often than a host that sends through the device could make us busy with.
    fn knows(&mut self, secret: u64) -> Result<bool, DeviceError> {
        if secret != self.secret && self.looked.elapsed() >= TICK {
            self.looked = Instant::now();
            self.secret = self.config.get()?.parking_secret;
        }
        Ok(secret != 0 && secret == self.secret)
    }
}

fn signal(pair: AuthKey, at: Option<u64>) -> Signal {
    Signal {
        local: pair.local,
        remote: pair.remote,
        node: pair.node,
        family: 4,
        cause: SignalCause::Ingress as u8,
        reserved: [0; 2],
        at: at.unwrap_or_else(boottime_now),
    }
}
