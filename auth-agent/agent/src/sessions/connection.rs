//! Drives one session: bytes in and out, time, commands.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use signet_handshake::Proof;
use signet_lease::BookError;
use signet_pairs::{Effects, Ends, Flights};
use signet_session::{CodecError, Decoder, Established, Event, Message, NodeNumber, SessionError, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::establish::Fresh;
use super::handle::{Command, Reply, SessionHandle, Traffic, TransportEvent};
use crate::clock::{now, unix_now};
use crate::leases::Talk;
use crate::pairs::{Knowledge, Pairs};

/// Frames that wait to be written; a peer that does not read them loses the session.
const OUTGOING: usize = 512;
/// Frames put into one write.
const BATCH: usize = 32;
/// For one write.
const WRITE: Duration = Duration::from_secs(10);
/// Commands that wait.
pub(super) const COMMANDS: usize = 128;
/// For handing a transport message on.
const HAND_OVER: Duration = Duration::from_secs(10);
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("closed by this node")]
    Closed,
    #[error("the peer closed the connection")]
    ByPeer,
    #[error("the connection broke off: {0}")]
    Broken(io::Error),
    #[error("the peer does not read")]
    Stalled,
    #[error("{0}")]
    Session(#[from] SessionError),
    #[error("{0}")]
    Lease(#[from] BookError),
    #[error("{}", crate::pairs::chain(.0))]
    Codec(#[from] CodecError),
    #[error("an SVID of the two nodes has expired")]
    Expired,
    #[error("this node is overloaded")]
    Overloaded,
}

/// One session at work.
pub(super) struct Connection {
    session: Established,
    flights: Flights<Reply>,
    knowledge: Knowledge,
    decoder: Decoder,
    node: NodeNumber,
    generation: u64,
    not_after: i64,
    outgoing: mpsc::Sender<Vec<u8>>,
    traffic: Arc<Traffic>,
    pairs: Pairs,
    transport: mpsc::Sender<TransportEvent>,
    talk: Talk,
}

/// Splits a fresh session into what drives it and what others hold of it.
pub(super) fn start(
    fresh: Fresh,
    context: &Context,
    own: NodeNumber,
    generation: u64,
    pairs: Pairs,
    transport: mpsc::Sender<TransportEvent>,
) -> (SessionHandle, impl Future<Output = Ended> + Send + use<>) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    let cancel = CancellationToken::new();
    let traffic = Arc::new(Traffic::default());
    let handle = SessionHandle {
        node: fresh.peer.clone(),
        generation,
        address: fresh.address,
        since: unix_now(),
        key_exchange: fresh.key_exchange,
        dialer: fresh.dialer,
        instance: fresh.session.peer_instance(),
        commands,
        cancel: cancel.clone(),
        svids: fresh.svids,
        verdict: Arc::default(),
        secrets: fresh.secrets.clone(),
        traffic: traffic.clone(),
    };
    let ends = Ends {
        own: (own, context.node_id(&context.name)),
        peer: (fresh.peer.number, context.node_id(&fresh.peer.name)),
        exporter: fresh.secrets.binding(),
    };
    let talk = Talk::new(context.leases.clone(), fresh.peer.number, generation);
    let connection = Connection {
        session: fresh.session,
        flights: Flights::new(ends, context.bundles.clone()),
        knowledge: context.knowledge.clone(),
        decoder: fresh.decoder,
        node: fresh.peer.number,
        generation,
        not_after: fresh.not_after,
        outgoing,
        traffic,
        pairs,
        transport,
        talk,
    };
    let (reader, writer) = split(fresh.stream);
    (handle, connection.run(reader, writer, queue, inbox, cancel))
}

impl Connection {
    async fn run(
        mut self,
        mut reader: ReadHalf<TlsStream<TcpStream>>,
        writer: WriteHalf<TlsStream<TcpStream>>,
        queue: mpsc::Receiver<Vec<u8>>,
        mut inbox: mpsc::Receiver<Command>,
        cancel: CancellationToken,
    ) -> Ended {
        let writing = write(writer, queue);
        tokio::pin!(writing);
        let reading = self.read(&mut reader, &mut inbox);
        tokio::select! {
            () = cancel.cancelled() => Ended::Closed,
            ended = &mut writing => ended,
            ended = reading => ended,
        }
    }

    async fn read(
        &mut self,
        reader: &mut ReadHalf<TlsStream<TcpStream>>,
        inbox: &mut mpsc::Receiver<Command>,
    ) -> Ended {
        let mut buffer = vec![0; CHUNK];
        let questions = self.talk.open(&mut self.session);
        let mut result = self.send_all(&questions);
        if result.is_ok() {
            // What came with the hello.
            result = self.drain().await;
        }
        loop {
            if let Err(ended) = result {
                return ended;
            }
            let wake = self.wake();
            result = tokio::select! {
                read = reader.read(&mut buffer) => match read {
                    Ok(0) => Err(Ended::ByPeer),
                    Ok(read) => {
                        self.decoder.push(buffer.get(..read).unwrap_or_default());
                        self.drain().await
                    }
                    Err(error) => Err(Ended::Broken(error)),
                },
                command = inbox.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => Err(Ended::Closed),
                },
                () = self.talk.changed() => self.on_tick().await,
                () = sleep_until(wake) => self.on_tick().await,
            };
        }
    }

    async fn drain(&mut self) -> Result<(), Ended> {
        while let Some(message) = self.decoder.next_message()? {
            self.traffic.received.fetch_add(1, Relaxed);
            self.on_message(message).await?;
        }
        Ok(())
    }

    async fn on_message(&mut self, message: Message) -> Result<(), Ended> {
        let (node, generation) = (self.node, self.generation);
        match self.session.on_message(message, now().clock)? {
            Event::Nothing => Ok(()),
            Event::Reply(message) => self.send(&message),
            Event::Opened(open) => {
                let effects = self
                    .flights
                    .on_open(&mut self.session, open, &self.knowledge, now());
                self.apply(effects).await
            }
            Event::Handshake(route, step) => {
                let effects = self.flights.on_step(&mut self.session, route, step, now());
                self.apply(effects).await
            }
            Event::Offer(offer) => {
                self.tell(TransportEvent::Offer {
                    node,
                    generation,
                    offer,
                })
                .await
            }
            Event::Ready(epoch) => {
                self.tell(TransportEvent::Ready {
                    node,
                    generation,
                    epoch,
                })
                .await
            }
            Event::Retire(_) => self.tell(TransportEvent::Retire { node, generation }).await,
            Event::LeaseAsked(ask) => {
                let answers = self.talk.on_ask(&mut self.session, &ask);
                self.send_all(&answers)
            }
            Event::LeaseTable(groups) => Ok(self.talk.on_table(groups)?),
            Event::LeaseChange { withdrawn, added } => Ok(self.talk.on_change(&withdrawn, added)?),
            Event::LeaseGranted { asked, lasting } => Ok(self.talk.on_grant(asked, lasting)?),
        }
    }

    async fn on_command(&mut self, command: Command) -> Result<(), Ended> {
        match command {
            Command::Prove { local, remote, reply } => {
                let effects = self.flights.start(&mut self.session, local, remote, reply, now());
                self.apply(effects).await
            }
            Command::Offer(offer) => {
                let message = self.session.offer(offer);
                self.send(&message)
            }
            Command::Ready(epoch) => self.send(&Message::Ready(epoch)),
            Command::Retire(epoch) => self.send(&Message::Retire(epoch)),
        }
    }

    async fn on_tick(&mut self) -> Result<(), Ended> {
        if unix_now() >= self.not_after {
            return Err(Ended::Expired);
        }
        if let Some(ping) = self.session.on_tick(now().clock)? {
            self.send(&ping)?;
        }
        let messages = self.talk.on_tick(&mut self.session);
        self.send_all(&messages)?;
        let effects = self.flights.on_tick(&mut self.session, now());
        self.apply(effects).await
    }

    async fn apply(&mut self, effects: Effects<Reply>) -> Result<(), Ended> {
        let Effects {
            messages,
            proofs,
            answers,
            refused,
        } = effects;
        for refused in refused {
            let (local, remote, error) = (refused.local, refused.remote, refused.error);
            tracing::debug!(pair.local = %local, pair.remote = %remote, %error, "handshake broken off");
        }
        for (reply, result) in answers {
            // Whoever asked may have given up: the proof is good all the same.
            if let Err(Ok(proof)) = reply.send(result) {
                self.responded(proof).await;
            }
        }
        messages.iter().try_for_each(|message| self.send(message))?;
        for proof in proofs {
            self.responded(proof).await;
        }
        Ok(())
    }

    async fn responded(&self, proof: Proof) {
        self.pairs.responded(self.node, proof).await;
    }

    async fn tell(&self, event: TransportEvent) -> Result<(), Ended> {
        match timeout(HAND_OVER, self.transport.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Closed),
            Err(_) => Err(Ended::Overloaded),
        }
    }

    fn send_all(&self, messages: &[Message]) -> Result<(), Ended> {
        messages.iter().try_for_each(|message| self.send(message))
    }

    fn send(&self, message: &Message) -> Result<(), Ended> {
        self.outgoing
            .try_send(encode(message)?)
            .map_err(|_| Ended::Stalled)?;
        self.traffic.sent.fetch_add(1, Relaxed);
        Ok(())
    }

    fn wake(&self) -> Instant {
        let mut wake = Instant::from_std(self.session.deadline()).min(self.talk.deadline());
        if let Some(deadline) = self.flights.deadline() {
            wake = wake.min(Instant::from_std(deadline));
        }
        let left = u64::try_from(self.not_after.saturating_sub(unix_now())).unwrap_or(0);
        wake.min(Instant::now() + Duration::from_secs(left))
    }
}

/// Writes frames until one cannot be written in time.
async fn write(mut writer: WriteHalf<TlsStream<TcpStream>>, mut queue: mpsc::Receiver<Vec<u8>>) -> Ended {
    let mut frames = Vec::with_capacity(BATCH);
    loop {
        frames.clear();
        if queue.recv_many(&mut frames, BATCH).await == 0 {
            return Ended::Closed;
        }
        let bytes = frames.concat();
        let written = timeout(WRITE, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ended::Broken(error),
            Err(_) => return Ended::Stalled,
        }
    }
}
