//! Bounds on what comes from outside.

use std::io::ErrorKind;

use signet_proto::ca::v1::{AttestRequest, RegisterRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::running::{Running, request};

/// More than one address may hold without having shown a node's SVID.
const TOO_MANY: usize = 33;

#[tokio::test]
async fn one_address_cannot_take_all_the_room_for_strangers() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut idle = Vec::new();
    for _ in 0..TOO_MANY {
        let mut stream = TcpStream::connect(ca.server.address()).await.unwrap();
        stream.write_all(&[0x16]).await.unwrap();
        idle.push(stream);
    }
    let mut last = idle.pop().unwrap();
    // Closed, or reset because our byte was never read.
    assert!(matches!(last.read(&mut [0]).await, Ok(0) | Err(_)));
    // While one of those that came before it may still go on with its handshake.
    let open = idle.into_iter().any(|stream| {
        let stream = stream.into_std().unwrap();
        stream
            .peek(&mut [0])
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    assert!(open, "all were closed");
    // Nodes that are there go on.
    node.follow(0).await.next().await;
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_refused_before_it_is_read() {
    let ca = Running::in_memory().await;
    let (_, csr) = request();
    let huge = AttestRequest {
        join_token: "x".repeat(200_000),
        csr,
    };
    let refused = ca.anonymous().await.attest(huge).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let huge = RegisterRequest {
        node: "x".repeat(17_000_000),
        ..RegisterRequest::default()
    };
    let refused = ca.operator.clone().register(huge).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[tokio::test]
async fn garbage_instead_of_tls_ends_the_connection_and_nothing_else() {
    let ca = Running::in_memory().await;
    let mut stream = TcpStream::connect(ca.server.address()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: ca\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 64 && !answer.starts_with(b"HTTP"), "{answer:?}");
    ca.node("n1", &[]).await;
}
