//! Two real daemons, each in a network namespace, with a wire between them.
//!
//! `SIGNET_WG` says which WireGuard is tested (`kernel`, `userspace`); by default the kernel's where it has one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is the test"
)]

mod support;

use signet_proto::keyd::v1::SetModeResponse;
use signet_proto::view::v1::EncryptionMode;
use support::{Echo, Family, Node, Sniffer, Wire, within};
use tonic::Code;

const TEXT: &str = "the quick brown fox jumps over the lazy dog";

/// Both nodes with the other as a peer, sending.
struct Pair {
    a: Node,
    b: Node,
    offers: [SetModeResponse; 2],
}

impl Pair {
    async fn up(wire: &Wire, family: Family) -> Self {
        let mut pair = Self::installed(wire, family, [5, 5]).await;
        pair.send().await;
        wire.route_tunnel();
        pair
    }

    async fn installed(wire: &Wire, family: Family, preshared_keys: [u8; 2]) -> Self {
        let (mut a, mut b) = (Node::start(wire, "a").await, Node::start(wire, "b").await);
        let offers = [a.on().await, b.on().await];
        a.install(&offers[1], preshared_keys[0], family)
            .await
            .expect("b is taken by a");
        b.install(&offers[0], preshared_keys[1], family)
            .await
            .expect("a is taken by b");
        Self { a, b, offers }
    }

    async fn send(&mut self) {
        self.a.start_sending().await.expect("a sends");
        self.b.start_sending().await.expect("b sends");
    }
}

/// Off the test's runtime, whose daemon clients must go on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("it does not panic")
}

#[tokio::test]
async fn what_was_plain_on_the_wire_is_ciphertext_once_the_tunnel_is_used() {
    for address in ["10.244.2.1", "fd00:244:2::1"] {
        let wire = Wire::new();
        let mut echo = Echo::connect(&wire, address);
        // The sniffer would see it.
        let sniffer = Sniffer::start(&wire, TEXT);
        echo.say(TEXT);
        let (with, _) = sniffer.stop();
        assert!(with >= 2, "{address}: the sniffer sees plaintext, there and back");

        let mut pair = Pair::up(&wire, Family::V4).await;
        let sniffer = Sniffer::start(&wire, TEXT);
        // The connection from before goes on.
        echo.say(TEXT);
        let (with, without) = sniffer.stop();
        assert_eq!(with, 0, "{address}: plaintext on the wire");
        assert!(without >= 2, "{address}: nothing at all on the wire");

        let status = pair.a.status().await;
        assert_eq!(
            (status.peers[0].state.as_str(), status.peers[0].node.as_str()),
            ("sending", "n2")
        );
        assert!(
            status.peers[0].last_handshake > 0 && status.peers[0].tx_bytes > 0,
            "{status:?}"
        );

        // And back to plaintext.
        wire.route_plain();
        pair.a.stop_sending().await.expect("a stops");
        pair.b.stop_sending().await.expect("b stops");
        pair.a.mode(EncryptionMode::Off).await.expect("off");
        assert!(
            wire.ip("a", &["link", "show"]).contains("sgwg0"),
            "b may still send"
        );
        pair.a.remove().await.expect("b is removed");
        assert!(
            !wire.ip("a", &["link", "show"]).contains("sgwg0"),
            "nothing is left"
        );
        echo.say(TEXT);
        echo.close();
    }
}

#[tokio::test]
async fn the_daemon_takes_the_kernels_wireguard_where_there_is_one_and_says_which() {
    let wire = Wire::new();
    let kernel = wire
        .try_ip("w", &["link", "add", "probe", "type", "wireguard"])
        .is_ok();
    let wanted = match (Node::setting().as_str(), kernel) {
        ("kernel", _) | ("auto", true) => "kernel",
        _ => "user space",
    };
    let mut a = Node::start(&wire, "a").await;
    assert_eq!(
        a.status().await.implementation,
        "",
        "there is none before it is needed"
    );
    a.on().await;
    assert_eq!(a.status().await.implementation, wanted);
}

#[tokio::test]
async fn the_tunnel_runs_over_an_ipv6_underlay() {
    let wire = Wire::new();
    let mut pair = Pair::up(&wire, Family::V6).await;
    assert!(wire.ping("a", "10.244.2.1"));
    assert!(wire.ping("b", "fd00:244:1::1"));
    let endpoint = &pair.a.status().await.peers[0].endpoint;
    assert_eq!(endpoint, "[2001:db8::2]:51871");
}

#[tokio::test]
async fn a_wrong_preshared_key_blocks_and_the_right_one_on_the_same_peer_opens() {
    let wire = Wire::new();
    let mut pair = Pair::installed(&wire, Family::V4, [5, 6]).await;
    pair.send().await;
    wire.route_tunnel();
    assert!(!wire.ping("a", "10.244.2.1"));
    assert_eq!(pair.a.status().await.peers[0].last_handshake, 0);

    let offer = pair.offers[0].clone();
    pair.b
        .install(&offer, 5, Family::V4)
        .await
        .expect("the key of a peer can be changed");
    // The handshake that was refused is tried again by itself.
    assert!((0..10).any(|_| wire.ping("a", "10.244.2.1")));
    assert!(pair.a.status().await.peers[0].last_handshake > 0);
}

#[tokio::test]
async fn a_changed_preshared_key_leaves_a_running_connection_alone() {
    let wire = Wire::new();
    let mut pair = Pair::up(&wire, Family::V4).await;
    let mut echo = Echo::connect(&wire, "10.244.2.1");
    echo.say(TEXT);
    let [to_a, to_b] = pair.offers.clone();
    for key in 10..15 {
        pair.a
            .install(&to_b, key, Family::V4)
            .await
            .expect("a takes the new key");
        echo.say("only one side has it");
        pair.b
            .install(&to_a, key, Family::V4)
            .await
            .expect("b takes the new key");
        echo.say("both sides have it");
    }
    let status = pair.a.status().await;
    assert_eq!(status.peers[0].state, "sending");
    echo.close();
}

#[tokio::test]
async fn a_connection_survives_a_killed_daemon() {
    let wire = Wire::new();
    let mut pair = Pair::up(&wire, Family::V4).await;
    let kernel = pair.a.status().await.implementation == "kernel";
    let ifindex = wire.ip("a", &["-o", "link", "show", "sgwg0"]);
    let mut echo = Echo::connect(&wire, "10.244.2.1");
    echo.say(TEXT);

    pair.a.kill();
    if kernel {
        echo.say("nobody is there, and the tunnel works");
    }
    // What the connection sends meanwhile is held back, not lost to it.
    let talking = std::thread::spawn(move || {
        for _ in 0..20 {
            echo.say(TEXT);
        }
        echo
    });
    pair.a.start_again().await;
    let now = wire.ip("a", &["-o", "link", "show", "sgwg0"]);
    assert_eq!(
        ifindex.split(':').next(),
        now.split(':').next(),
        "the interface is the same one"
    );

    let offer = pair.a.on().await;
    if kernel {
        assert_eq!(offer, pair.offers[0], "same key, same epoch");
        assert_eq!(pair.a.status().await.peers[0].node, "n2");
    } else {
        assert_ne!(offer.public_key, pair.offers[0].public_key);
        assert!(offer.key_epoch > pair.offers[0].key_epoch);
        // What the agents do then.
        let to_b = pair.offers[1].clone();
        pair.a
            .install(&to_b, 7, Family::V4)
            .await
            .expect("a takes b again");
        pair.b
            .install(&offer, 7, Family::V4)
            .await
            .expect("b takes a's new key");
        assert_eq!(pair.b.status().await.peers[0].state, "rekeying");
        pair.a.start_sending().await.expect("a sends");
        pair.b.start_sending().await.expect("b sends");
        assert_eq!(pair.b.status().await.peers[0].state, "sending");
    }
    blocking(move || talking.join().expect("the connection lives").close()).await;
}

#[tokio::test]
async fn a_lost_interface_is_made_again_with_a_new_key() {
    let wire = Wire::new();
    let mut a = Node::start(&wire, "a").await;
    let offer = a.on().await;
    wire.ip("a", &["link", "del", "sgwg0"]);
    let mut again = offer.clone();
    for _ in 0..600 {
        let status = a.status().await;
        if status.key_epoch != offer.key_epoch {
            again = a.on().await;
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(again.key_epoch > offer.key_epoch && again.public_key != offer.public_key);
    assert!(wire.ip("a", &["link", "show"]).contains("sgwg0"));
}

#[tokio::test]
async fn the_encrypted_packets_carry_the_mark_that_keeps_them_out_of_the_tunnel() {
    let wire = Wire::new();
    let mut pair = Pair::up(&wire, Family::V4).await;
    assert!(wire.ping("a", "10.244.2.1"));
    let mark = format!("{:#x}", signet_abi::MARK_TUNNEL);
    wire.ip(
        "a",
        &["rule", "add", "priority", "1", "fwmark", &mark, "prohibit"],
    );
    assert!(
        !wire.ping("a", "10.244.2.1"),
        "packets with the mark were prohibited"
    );
    wire.ip("a", &["rule", "del", "priority", "1"]);
    assert!(wire.ping("a", "10.244.2.1"));
    assert!(pair.a.status().await.last_error.is_empty());
}

#[tokio::test]
async fn the_interface_is_set_up_for_decrypted_packets() {
    let wire = Wire::new();
    let mut a = Node::start(&wire, "a").await;
    a.on().await;
    let link = wire.ip("a", &["link", "show", "sgwg0"]);
    assert!(link.contains("mtu 1420") && link.contains(",UP"), "{link}");
    let read = |family: &str, key: &str| {
        let path = format!("/proc/sys/net/{family}/conf/sgwg0/{key}");
        within(&wire.path("a"), || std::fs::read_to_string(path)).expect("the sysctl is there")
    };
    assert_eq!(read("ipv4", "rp_filter").trim(), "2");
    assert_eq!(read("ipv4", "forwarding").trim(), "1");
    assert_eq!(read("ipv6", "addr_gen_mode").trim(), "1");
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_reason_and_change_nothing() {
    let wire = Wire::new();
    let mut a = Node::start(&wire, "a").await;
    let status = a.mode(EncryptionMode::Unspecified).await.expect_err("no mode");
    assert_eq!(status.code(), Code::InvalidArgument);
    let offer = a.on().await;
    let refused = a.start_sending().await.expect_err("nobody is installed");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let refused = a.install(&offer, 5, Family::V4).await.expect_err("our own key");
    assert_eq!(
        (refused.code(), refused.message().contains("own")),
        (Code::InvalidArgument, true)
    );
    let refused = a
        .install(&offer, 0, Family::V4)
        .await
        .expect_err("no preshared key");
    assert_eq!(refused.code(), Code::InvalidArgument);
    a.stop_sending()
        .await
        .expect("stopping what never began is no error");
    a.remove().await.expect("removing what is not there neither");
    assert!(a.status().await.peers.is_empty());
}

#[tokio::test]
async fn the_daemon_leaves_no_core_and_writes_no_secret() {
    let wire = Wire::new();
    let pair = Pair::installed(&wire, Family::V4, [0xa7, 0xa7]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pair.a.pid())).expect("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("a limit");
    assert_eq!(
        core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
        ["0", "0"]
    );
    let mut files = 0;
    for entry in std::fs::read_dir(pair.a.run_dir()).expect("the run directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            files += 1;
            let text = std::fs::read_to_string(&path).expect("text");
            assert!(
                !text.contains("167,167,167"),
                "{}: the preshared key",
                path.display()
            );
        }
    }
    assert_eq!(files, 1, "keyd.json and nothing else");
}
