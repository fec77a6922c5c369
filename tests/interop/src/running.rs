use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::{Event, SvidEvent};

/// Most that is kept of a program's standard error, bytes.
const COMPLAINTS: u64 = 64 * 1024;

/// A client at work. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    complaints: Arc<Mutex<String>>,
    patience: Duration,
}

impl Running {
    /// Starts a client. `patience` bounds each wait; reaching it is a failure.
    pub fn start(command: &mut Command, patience: Duration) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        let (sender, lines) = channel();
        let complaints = Arc::default();
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                // Ends with the output, or when nobody listens.
                for line in lines {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        if let Some(error) = child.stderr.take() {
            let complaints = Arc::clone(&complaints);
            thread::spawn(move || collect(error, &complaints));
        }
        Ok(Self {
            child,
            lines,
            complaints,
            patience,
        })
    }

    /// The next event.
    pub fn event(&mut self) -> anyhow::Result<Event> {
        match self.lines.recv_timeout(self.patience) {
            Ok(line) => line
                .parse()
                .with_context(|| format!("the client printed {line:?}")),
            Err(RecvTimeoutError::Timeout) => bail!("the client printed nothing; {}", self.complaints()),
            Err(RecvTimeoutError::Disconnected) => bail!("the client has ended; {}", self.complaints()),
        }
    }

    /// The next event, which must be an SVID.
    pub fn svid(&mut self) -> anyhow::Result<SvidEvent> {
        match self.event()? {
            Event::Svid(svid) => Ok(svid),
            other @ (Event::Listening(_) | Event::Peer(_) | Event::Reply(_) | Event::Refused(_)) => {
                bail!("expected an SVID, got {other:?}; {}", self.complaints())
            }
        }
    }

    /// The next event, which must be a peer.
    pub fn peer(&mut self) -> anyhow::Result<SvidEvent> {
        match self.event()? {
            Event::Peer(peer) => Ok(peer),
            other @ (Event::Svid(_) | Event::Listening(_) | Event::Reply(_) | Event::Refused(_)) => {
                bail!("expected a peer, got {other:?}; {}", self.complaints())
            }
        }
    }

    /// The next event, which must be the address that it serves on; its port.
    pub fn port(&mut self) -> anyhow::Result<u16> {
        match self.event()? {
            Event::Listening(address) => Ok(address.parse::<SocketAddr>()?.port()),
            other @ (Event::Svid(_) | Event::Peer(_) | Event::Reply(_) | Event::Refused(_)) => {
                bail!("expected an address, got {other:?}; {}", self.complaints())
            }
        }
    }

    /// The next event, which must be a text.
    pub fn reply(&mut self) -> anyhow::Result<String> {
        match self.event()? {
            Event::Reply(text) => Ok(text),
            other @ (Event::Svid(_) | Event::Listening(_) | Event::Peer(_) | Event::Refused(_)) => {
                bail!("expected a text, got {other:?}; {}", self.complaints())
            }
        }
    }

    /// Waits until it has ended by itself.
    pub fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + self.patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // Its output closes as it ends; until then this waits for it, then for the exit status.
            match self.lines.recv_timeout(Duration::from_millis(10)) {
                Err(RecvTimeoutError::Disconnected) => thread::park_timeout(Duration::from_millis(1)),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() > until {
                bail!("the client does not end; {}", self.complaints());
            }
        }
    }

    /// What it wrote to its standard error so far.
    pub fn complaints(&self) -> String {
        let text = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        format!("its standard error: {:?}", text.trim())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; either way nothing is left behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(error: impl Read, complaints: &Mutex<String>) {
    let mut error = BufReader::new(error).take(COMPLAINTS);
    let mut line = Vec::new();
    while error.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    // Beyond the bound the output is still read, so that the program does not block on it.
    drop(std::io::copy(&mut error.into_inner(), &mut std::io::sink()));
}
