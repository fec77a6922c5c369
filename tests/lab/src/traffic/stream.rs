//! A long transfer over one connection, whose every block comes back and is checked.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

/// Bytes of a block: a sequence number and the text, repeated.
const BLOCK: usize = 1024;

/// What to transfer.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// To whom.
    pub target: SocketAddr,
    /// Stands in every block.
    pub text: String,
    /// How long blocks are sent.
    pub duration: Duration,
    /// Time between two blocks.
    pub interval: Duration,
    /// The transfer is broken once nothing came back for so long.
    pub patience: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Whether every block came back, in order and unchanged.
    pub intact: bool,
    /// Blocks sent.
    pub sent: u64,
    /// Blocks that came back as they were sent.
    pub received: u64,
    /// Longest time between two blocks that came back, milliseconds.
    pub longest_gap_ms: u64,
    /// When that was over, milliseconds from the first block.
    #[serde(default)]
    pub longest_gap_over_ms: u64,
    /// When the last block came back, milliseconds from the first.
    pub last_block_ms: u64,
    /// What broke it.
    pub error: Option<String>,
}

/// Transfers. A transfer that breaks is a report, not an error.
pub async fn stream(transfer: &Transfer) -> StreamReport {
    stream_until(transfer, std::future::pending()).await
}

/// Transfers until `stop` says so, at most for [`Transfer::duration`]. One block is sent after `stop`, so that an intact
/// transfer was intact at that instant.
pub async fn stream_until(
    transfer: &Transfer,
    stop: impl Future<Output = ()> + Send + 'static,
) -> StreamReport {
    let mut report = StreamReport::default();
    let outcome = run(transfer, stop, &mut report).await;
    report.intact = outcome.is_ok() && report.sent == report.received && report.sent > 0;
    report.error = outcome.err().map(|error| error.to_string());
    report
}

async fn run(
    transfer: &Transfer,
    stop: impl Future<Output = ()> + Send + 'static,
    report: &mut StreamReport,
) -> io::Result<()> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "nothing came back in time");
    let connect = timeout(transfer.patience, TcpStream::connect(transfer.target));
    let stream = connect.await.map_err(|_| late())??;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(b"STREAM\n").await?;
    let (text, interval, duration) = (transfer.text.clone(), transfer.interval, transfer.duration);
    let sender = tokio::spawn(async move {
        let started = tokio::time::Instant::now();
        let mut sent = 0_u64;
        let mut stop = std::pin::pin!(stop);
        let mut stopped = false;
        while !stopped && started.elapsed() < duration {
            writer.write_all(&block(sent, &text)).await?;
            sent += 1;
            let next = started + interval.saturating_mul(u32::try_from(sent).unwrap_or(u32::MAX));
            stopped = timeout_at(next, &mut stop).await.is_ok();
        }
        if stopped {
            writer.write_all(&block(sent, &text)).await?;
            sent += 1;
        }
        writer.shutdown().await?;
        Ok::<_, io::Error>(sent)
    });
    let received = receive(transfer, &mut reader, report, late).await;
    if received.is_err() {
        sender.abort();
    }
    let sent = sender.await;
    received?;
    report.sent = sent.map_err(io::Error::other)??;
    Ok(())
}

/// Reads blocks until the other side closes.
async fn receive(
    transfer: &Transfer,
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    report: &mut StreamReport,
    late: impl Fn() -> io::Error,
) -> io::Result<()> {
    let mut buffer = vec![0_u8; BLOCK];
    let mut last = Instant::now();
    let mut first_at = None;
    loop {
        let first = timeout(transfer.patience, reader.read(&mut buffer[..1]))
            .await
            .map_err(|_| late())??;
        if first == 0 {
            return Ok(());
        }
        timeout(transfer.patience, reader.read_exact(&mut buffer[1..]))
            .await
            .map_err(|_| late())??;
        if buffer != block(report.received, &transfer.text) {
            let what = format!("block {} came back changed or out of order", report.received);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        report.received += 1;
        let gap = millis(last.elapsed());
        last = Instant::now();
        report.last_block_ms = millis(last - *first_at.get_or_insert(last));
        if gap > report.longest_gap_ms {
            report.longest_gap_ms = gap;
            report.longest_gap_over_ms = report.last_block_ms;
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The block with a sequence number.
fn block(sequence: u64, text: &str) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend_from_slice(&sequence.to_be_bytes());
    let filler = if text.is_empty() { "." } else { text };
    block.extend(filler.bytes().cycle().take(BLOCK - block.len()));
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Probe, ServeOptions, Transport, probe, serve};

    fn server() -> u16 {
        let port = std::net::TcpListener::bind("[::1]:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let options = ServeOptions {
            name: "web".into(),
            tcp: vec![port],
            udp: vec![port],
        };
        tokio::spawn(async move { serve(&options).await });
        port
    }

    fn ask(port: u16, transport: Transport) -> Probe {
        Probe {
            target: ([127, 0, 0, 1], port).into(),
            transport,
            text: "hello".into(),
            timeout: Duration::from_secs(10),
            retry: Some(Duration::from_millis(50)),
        }
    }

    #[tokio::test]
    async fn probe_and_server_understand_each_other_over_tcp_and_udp() {
        let port = server();
        let udp = probe(&ask(port, Transport::Udp)).await;
        assert_eq!(
            (udp.answered, udp.answer.as_str()),
            (true, "web: hello"),
            "{udp:?}"
        );
        let tcp = probe(&ask(port, Transport::Tcp)).await;
        assert_eq!(
            (tcp.answered, tcp.answer.as_str()),
            (true, "web: hello"),
            "{tcp:?}"
        );
        let page = Probe {
            text: "GET /there HTTP/1.0\r\n\r".into(),
            ..ask(port, Transport::Tcp)
        };
        assert_eq!(probe(&page).await.answer, "HTTP/1.0 200 OK");
    }

    #[tokio::test]
    async fn a_transfer_comes_back_whole() {
        let port = server();
        // The datagram's answer says that the server is up.
        assert!(probe(&ask(port, Transport::Udp)).await.answered);
        let report = stream(&Transfer {
            target: ([127, 0, 0, 1], port).into(),
            text: "x".into(),
            duration: Duration::from_millis(100),
            interval: Duration::from_millis(1),
            patience: Duration::from_secs(10),
        })
        .await;
        assert!(report.intact, "{report:?}");
        assert_eq!(report.sent, report.received);
    }

    #[tokio::test]
    async fn a_server_that_changes_a_block_is_found_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut all = vec![0_u8; 7 + BLOCK];
            connection.read_exact(&mut all).await.unwrap();
            all[7 + 500] ^= 1;
            connection.write_all(&all[7..]).await.unwrap();
        });
        let second = Duration::from_secs(1);
        let transfer = Transfer {
            target,
            text: "x".into(),
            duration: second,
            interval: second,
            patience: second * 5,
        };
        let report = stream(&transfer).await;
        assert!(!report.intact);
        assert!(report.error.unwrap().contains("block 0 came back changed"));
    }
}
