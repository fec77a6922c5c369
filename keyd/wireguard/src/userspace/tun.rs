//! The TUN interface as `gotatun` wants it: a source and a sink of IP packets.

use std::io;
use std::sync::Arc;

use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use tun_rs::AsyncDevice;

/// Packets taken at once before the engine gets them.
const BATCH: usize = 64;

/// One half of a TUN interface.
pub(super) struct TunPort {
    tun: Arc<AsyncDevice>,
    mtu: u16,
    batch: Vec<Packet<Ip>>,
}

impl TunPort {
    pub(super) fn new(tun: Arc<AsyncDevice>, mtu: u16) -> Self {
        Self {
            tun,
            mtu,
            batch: Vec::new(),
        }
    }

    /// What is not IPv4 or IPv6 is dropped here; the engine would log an error for each.
    fn keep(&mut self, mut packet: Packet, length: usize) {
        packet.truncate(length);
        if let Ok(packet) = packet.try_into_ip() {
            self.batch.push(packet);
        }
    }
}

impl IpSend for TunPort {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        self.tun.send(&packet.into_bytes()).await?;
        Ok(())
    }
}

impl IpRecv for TunPort {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        while self.batch.is_empty() {
            let mut packet = pool.get();
            let length = self.tun.recv(&mut packet).await?;
            self.keep(packet, length);
            while self.batch.len() < BATCH {
                let mut packet = pool.get();
                // An error, "nothing there" included, is met again by the next `recv`.
                let Ok(length) = self.tun.try_recv(&mut packet) else {
                    break;
                };
                self.keep(packet, length);
            }
        }
        Ok(self.batch.drain(..))
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::new(self.mtu)
    }
}
