//! Clients that stop half-way are let go of in time. What they hold until then is bounded, too: see `places.rs`, and
//! `subscription.rs` for one that does not read its stream.

use std::time::Duration;

use signet_proto::workload::X509svidRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::places::Patience;
use crate::testing::{Authority, PATIENCE, Served, for_us};
use crate::{Limits, Offer};

fn impatient() -> Served {
    let moment = Duration::from_millis(100);
    Served::with_patience(
        Limits::default(),
        Patience {
            first: moment,
            ping: moment,
            pong: moment,
        },
    )
}

async fn connect(served: &Served) -> UnixStream {
    drop(served.channel().await);
    UnixStream::connect(&served.socket).await.unwrap()
}

/// Reads what comes until the other side has closed.
async fn is_closed(mut stream: UnixStream) {
    let mut said = Vec::new();
    // A reset is a way of closing.
    drop(
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said))
            .await
            .expect("it is never closed"),
    );
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let served = impatient();
    is_closed(connect(&served).await).await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_and_others_are_not() {
    let served = impatient();
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    let mut patient = served.client().await;
    let mut stream = patient
        .fetch_x509svid(X509svidRequest {})
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();

    let mut mute = connect(&served).await;
    // HTTP/2's preface and an empty SETTINGS frame (RFC 9113 §3.4); after these it reads, and answers nothing.
    mute.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    is_closed(mute).await;

    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    let next = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap();
    assert!(next.unwrap().is_some(), "a client that lives was closed, too");
}
