//! The lab's plain networking, with real namespaces and without daemons. Needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::process::{Command, Stdio};

use signet_lab::{Claim, Lab, LabError, LabFile, LabName, LabPaths, UpOptions, down, labs, status, sweep};

const TEXT: &str = "\
name: x
nodes: [{name: n1}, {name: n2}]
workloads:
- {name: client, node: n1}
- {name: near, node: n1}
- {name: web, node: n2, namespace: shop}
";

/// A lab of its own for each test, also when two runs of the tests overlap.
fn file(test: char) -> (LabFile, LabName) {
    let name = LabName::parse(&format!("t{test}{}", std::process::id())).unwrap();
    (LabFile::parse(TEXT, "test").unwrap().renamed(&name), name)
}

fn plain() -> UpOptions {
    UpOptions {
        daemons: false,
        ..UpOptions::default()
    }
}

fn ping(lab: &Lab, from: &str, to: &str) -> Result<String, LabError> {
    lab.exec(from, &["ping", "-n", "-c", "1", "-W", "3", to])
}

#[tokio::test]
async fn workloads_reach_each_other_in_both_families_across_nodes_and_on_one_node() {
    let (file, _) = file('a');
    let lab = Lab::up(&file, &plain()).await.unwrap();
    for workload in ["near", "shop/web"] {
        let to = lab.plan().workload(workload).unwrap().clone();
        ping(&lab, "client", &to.ipv4.to_string()).unwrap();
        ping(&lab, "client", &to.ipv6.to_string()).unwrap();
    }
    // From a node to a workload elsewhere, and to the CA.
    ping(&lab, "n1", "10.244.2.10").unwrap();
    ping(&lab, "n1", "172.30.0.2").unwrap();
    ping(&lab, "n1", "fd00:30::2").unwrap();
    // An address that no workload has is refused by its node, not sent around.
    assert!(ping(&lab, "client", "10.244.2.99").is_err());
}

#[tokio::test]
async fn exec_tells_workloads_where_their_workload_api_is() {
    let (file, name) = file('b');
    let lab = Lab::up(&file, &plain()).await.unwrap();
    let socket = lab
        .exec("shop/web", &["sh", "-c", "echo $SPIFFE_ENDPOINT_SOCKET"])
        .unwrap();
    assert_eq!(
        socket.trim(),
        format!("unix:///run/signet-lab/{name}/n2/workload.sock")
    );
    let run_dir = lab.exec("n2", &["sh", "-c", "echo $SIGNET_RUN_DIR"]).unwrap();
    assert_eq!(run_dir.trim(), format!("/run/signet-lab/{name}/n2"));
    let error = lab.exec("n9", &["true"]).unwrap_err().to_string();
    assert!(
        error.contains("has no `n9`; it has net, ca, n1, n2, client, near, web"),
        "{error}"
    );
}

#[tokio::test]
async fn down_leaves_nothing_and_works_twice() {
    let (file, name) = file('c');
    let lab = Lab::up(&file, &plain()).await.unwrap().keep();
    let mut stray = lab
        .command("client", &["sleep", "1000"])
        .unwrap()
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(matches!(Lab::up(&file, &plain()).await, Err(LabError::Exists(_))));
    assert!(labs().unwrap().contains(&name));
    assert!(down(&name).unwrap());
    stray.wait().unwrap();
    let netns = String::from_utf8(Command::new("ip").args(["netns"]).output().unwrap().stdout).unwrap();
    assert!(!netns.contains(&format!("sg-{name}-")), "{netns}");
    assert!(!lab.paths().run_dir().exists());
    assert!(!lab.paths().bpffs().exists());
    assert!(!lab.paths().lock().exists());
    assert!(!down(&name).unwrap(), "there was nothing any more");
    assert!(matches!(status(&name), Err(LabError::Unknown(_))));
}

#[tokio::test]
async fn down_needs_no_state_file() {
    let (file, name) = file('d');
    let lab = Lab::up(&file, &plain()).await.unwrap().keep();
    std::fs::remove_dir_all(lab.paths().run_dir()).unwrap();
    assert!(labs().unwrap().contains(&name), "the namespaces alone tell of it");
    assert!(down(&name).unwrap());
    assert!(!labs().unwrap().contains(&name));
}

#[tokio::test]
async fn two_labs_with_the_same_addresses_do_not_meet() {
    let ((one, _), (two, _)) = (file('e'), file('f'));
    let one = Lab::up(&one, &plain()).await.unwrap();
    let two = Lab::up(&two, &plain()).await.unwrap();
    let web = std::net::SocketAddr::from(([10, 244, 2, 10], 7000));
    let listener = one
        .within("web", || std::net::TcpListener::bind(web))
        .unwrap()
        .unwrap();
    assert!(
        one.within("client", || std::net::TcpStream::connect(web))
            .unwrap()
            .is_ok()
    );
    assert!(
        two.within("client", || std::net::TcpStream::connect(web))
            .unwrap()
            .is_err()
    );
    drop(listener);
}

#[tokio::test]
async fn a_capture_on_the_underlay_sees_what_workloads_say_to_each_other() {
    let (file, _) = file('g');
    let lab = Lab::up(&file, &plain()).await.unwrap();
    let capture = signet_lab::capture::Capture::start(&lab.paths().netns("net"), "a telling text").unwrap();
    let sent = lab.within("client", || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"here is a telling text", "10.244.2.10:9")
    });
    assert_eq!(sent.unwrap().unwrap(), 22);
    // The answer has come back the whole way: the datagram before it has passed too.
    ping(&lab, "client", "10.244.2.10").unwrap();
    let seen = capture.stop().unwrap();
    assert!(seen.with_text > 0 && seen.plain_pod > 0, "{seen:?}");
    assert!(seen.example.is_some());
}

#[tokio::test]
async fn a_sweep_removes_the_labs_of_programs_that_died_and_no_other() {
    let claim = Claim::take("tl").unwrap();
    let living = file('l').0.renamed(claim.name());
    let living = Lab::up(&living, &plain()).await.unwrap();
    let (dead, name) = file('d');
    let _kept = Lab::up(&dead, &plain()).await.unwrap().keep();
    // What a killed program leaves: the lab, and a claim that nobody holds.
    std::fs::write(LabPaths::new(&name).claim(), "").unwrap();
    assert!(sweep().unwrap().contains(&name));
    assert!(!labs().unwrap().contains(&name));
    assert!(!LabPaths::new(&name).claim().exists());
    assert!(labs().unwrap().contains(claim.name()));
    let second = Claim::take("tl").unwrap();
    assert_ne!(second.name(), claim.name());
    let path = LabPaths::new(claim.name()).claim();
    drop((living, claim));
    assert!(!path.exists());
}
