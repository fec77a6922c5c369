//! Sockets at both ends of a path, and what is done over them. All of it blocks: no executor stands between the
//! sample and the kernel.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::samples::Samples;

/// Bytes of a ping.
const PING: usize = 64;
/// Bytes of one write of a transfer.
const CHUNK: usize = 128 << 10;
/// Nothing takes longer than this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// The processors of the two ends.
pub(super) const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Ports of the three servers of [`serve`].
pub(super) const ECHO: u16 = 7001;
pub(super) const SINK: u16 = 7002;
pub(super) const CLOSE: u16 = 7003;

/// Servers of one workload: an echo, a sink that counts, and one that closes at once. Call it in the workload's
/// network namespace; the threads live as long as the program.
pub(super) fn serve() -> io::Result<Arc<AtomicU64>> {
    let counted = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&counted);
    listen(ECHO, echo)?;
    listen(SINK, move |stream| sink(stream, &sum))?;
    listen(CLOSE, |_| Ok(()))?;
    Ok(counted)
}

/// Keeps this thread on one processor. Two threads that talk to each other are three times as fast on one processor as on two
/// that have to wake each other; where the scheduler puts them must not decide what is measured.
pub(super) fn stay_on(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set)?;
    Ok(())
}

fn listen(port: u16, mut each: impl FnMut(TcpStream) -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port))?;
    std::thread::spawn(move || {
        // It serves all the same where it may not choose.
        let _ = stay_on(SERVER);
        // One connection at a time: that is what is measured. A client that breaks off is none of our business.
        for stream in listener.incoming().flatten() {
            let _ = each(stream);
        }
    });
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut ping = [0; PING];
    loop {
        stream.read_exact(&mut ping)?;
        stream.write_all(&ping)?;
    }
}

fn sink(mut stream: TcpStream, sum: &AtomicU64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        sum.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Round trips of 64 bytes over one connection.
pub(super) fn round_trips(to: SocketAddr, count: usize) -> io::Result<Samples> {
    let mut stream = connect(to)?;
    let mut samples = Samples::default();
    let mut ping = [7; PING];
    for _ in 0..count {
        let began = Instant::now();
        stream.write_all(&ping)?;
        stream.read_exact(&mut ping)?;
        samples.push(began.elapsed());
    }
    Ok(samples)
}

/// Connections made one after the other, each until the peer has closed it.
pub(super) fn connections(to: SocketAddr, count: usize) -> io::Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..count {
        let began = Instant::now();
        let mut stream = connect(to)?;
        stream.read_exact(&mut [0]).err();
        samples.push(began.elapsed());
    }
    Ok(samples)
}

/// Sends as much as goes through for so long; bytes per second that have arrived at the sink.
pub(super) fn throughput(to: SocketAddr, arrived: &AtomicU64, how_long: Duration) -> io::Result<f64> {
    let mut stream = connect(to)?;
    let chunk = vec![7; CHUNK];
    // The window opens before it counts.
    let warm = Instant::now();
    while warm.elapsed() < how_long / 5 {
        stream.write_all(&chunk)?;
    }
    let (before, began) = (arrived.load(Ordering::Relaxed), Instant::now());
    while began.elapsed() < how_long {
        stream.write_all(&chunk)?;
    }
    let (after, took) = (arrived.load(Ordering::Relaxed), began.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "a rate to three digits")]
    let bytes = (after - before) as f64;
    Ok(bytes / took.as_secs_f64())
}
