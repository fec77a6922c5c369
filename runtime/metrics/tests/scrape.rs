//! Scrapes over real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here is the test")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use signet_metrics::{Page, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn serving(page: fn() -> Option<Page>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, move || async move { page() }));
    address
}

fn one() -> Page {
    let mut page = Page::new("signet_test", "1");
    page.gauge("svids", "SVIDs", 5);
    page
}

/// What comes back until the server has closed.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_scrape_gets_the_page_in_the_openmetrics_format() {
    let answer = ask(serving(|| Some(one())).await, &request("GET", "/metrics")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("\nsignet_test_svids 5\n"), "{answer}");
}

#[tokio::test]
async fn nothing_else_is_answered() {
    let address = serving(|| Some(one())).await;
    for (method, path, status) in [("GET", "/", "404"), ("POST", "/metrics", "405")] {
        let answer = ask(address, &request(method, path)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_daemon_that_cannot_say_how_it_is_says_so() {
    let answer = ask(serving(|| None).await, &request("GET", "/metrics")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn headers_without_end_are_cut_off_and_the_next_scrape_is_served() {
    let address = serving(|| Some(one())).await;
    let endless = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nx: {}\r\n\r\n",
        "y".repeat(64 << 10)
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before all is written.
    let _ = stream.write_all(endless.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert!(ask(address, &request("GET", "/metrics")).await.contains(" 200 "));
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_page() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let address = serving(|| {
        MADE.fetch_add(1, Ordering::Relaxed);
        Some(one())
    })
    .await;
    let request = request("GET", "/metrics");
    let asked = (0..8).map(|_| ask(address, &request));
    for answer in futures::future::join_all(asked).await {
        assert!(answer.contains("signet_test_svids 5"), "{answer}");
    }
    // More only where the eight took longer than a page is good for.
    assert!(MADE.load(Ordering::Relaxed) < 8);
}
