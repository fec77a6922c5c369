//! Asks a server once, and measures how long the first contact takes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A connection.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What to ask, and how patiently.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Whom.
    pub target: SocketAddr,
    /// How.
    pub transport: Transport,
    /// What is sent.
    pub text: String,
    /// After this long without an answer the probe has failed.
    pub timeout: Duration,
    /// After this long without an answer it is tried anew: another datagram, or another connection. `None` for TCP
    /// leaves it to the kernel, which repeats a SYN after 1 s, 2 s, 4 s.
    pub retry: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Whether an answer came.
    pub answered: bool,
    /// Microseconds from the first packet to the connection; for UDP, to the answer.
    pub contact_us: u64,
    /// Microseconds from the first packet to the answer.
    pub answer_us: u64,
    /// Datagrams or connections that it took.
    pub attempts: u32,
    /// The answer.
    pub answer: String,
    /// Why there was none.
    pub error: Option<String>,
}

/// Asks. That nobody answers is a report, not an error.
pub async fn probe(probe: &Probe) -> ProbeReport {
    let started = Instant::now();
    let mut report = ProbeReport {
        answered: false,
        contact_us: 0,
        answer_us: 0,
        attempts: 0,
        answer: String::new(),
        error: None,
    };
    let asked = async {
        match probe.transport {
            Transport::Tcp => ask_tcp(probe, started, &mut report).await,
            Transport::Udp => ask_udp(probe, started, &mut report).await,
        }
    };
    let error = match timeout(probe.timeout, asked).await {
        Ok(Ok(answer)) => {
            report.answered = true;
            report.answer_us = micros(started);
            report.answer = answer;
            return report;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {:?}", probe.timeout),
    };
    report.error = Some(error);
    report
}

async fn ask_tcp(probe: &Probe, started: Instant, report: &mut ProbeReport) -> io::Result<String> {
    let stream = loop {
        report.attempts += 1;
        let Some(patience) = probe.retry else {
            break TcpStream::connect(probe.target).await?;
        };
        if let Ok(connected) = timeout(patience, TcpStream::connect(probe.target)).await {
            break connected?;
        }
    };
    report.contact_us = micros(started);
    let mut stream = BufReader::new(stream);
    stream
        .get_mut()
        .write_all(format!("{}\n", probe.text).as_bytes())
        .await?;
    let mut answer = String::new();
    if stream.read_line(&mut answer).await? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection was closed without an answer",
        ));
    }
    Ok(answer.trim_end().to_owned())
}

async fn ask_udp(probe: &Probe, started: Instant, report: &mut ProbeReport) -> io::Result<String> {
    let any = match probe.target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(probe.target).await?;
    let patience = probe.retry.unwrap_or(Duration::from_millis(100));
    let mut buffer = vec![0_u8; 65_536];
    loop {
        report.attempts += 1;
        socket.send(probe.text.as_bytes()).await?;
        match timeout(patience, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                report.contact_us = micros(started);
                return Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned());
            }
            // "Connection refused" of an ICMP error: the server may not be there yet.
            Ok(Err(_)) => sleep(patience).await,
            Err(_) => {}
        }
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
