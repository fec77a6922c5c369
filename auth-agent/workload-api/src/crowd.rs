//! A thousand processes of many users at once.

use std::fs::{Permissions, set_permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signet_attest::RequiredSelectors;

use crate::places::Patience;
use crate::testing::{Authority, Served};
use crate::{Limits, Offer};

const WORKLOADS: u32 = 1000;
/// A group that all of them have.
const GROUP: u32 = 4343;

/// What a client says on a connection that asks for SVIDs: HTTP/2 (RFC 9113, headers not indexed, RFC 7541) and one empty
/// gRPC message.
fn request() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS, empty; then HEADERS (END_HEADERS) and DATA (END_STREAM) of stream 1.
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // :method POST, :scheme http.
    let mut headers = vec![0x83, 0x86];
    let literal = |headers: &mut Vec<u8>, name: &str, value: &str| {
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend(text.as_bytes());
        }
    };
    literal(&mut headers, ":path", "/SpiffeWorkloadAPI/FetchX509SVID");
    literal(&mut headers, ":authority", "localhost");
    literal(&mut headers, "content-type", "application/grpc");
    literal(&mut headers, "te", "trailers");
    literal(&mut headers, "workload.spiffe.io", "true");
    bytes.extend([0, 0, u8::try_from(headers.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
    bytes.extend(headers);
    bytes.extend([0, 0, 5, 0, 1, 0, 0, 0, 1]);
    bytes.extend([0; 5]);
    bytes
}

/// A process of a user of its own that has asked.
struct Workload(Child);

impl Workload {
    fn start(socket: &Path, number: u32) -> Self {
        let mut child = Command::new("nc")
            .args(["-U", "--"])
            .arg(socket)
            .uid(10_000 + number)
            .gid(GROUP)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(&request()).unwrap();
        Self(child)
    }

    /// Reads until it has heard of the ID; nothing if its connection ended before.
    fn hears(&mut self, id: &str) -> bool {
        let mut heard: Vec<u8> = Vec::new();
        let mut buffer = [0; 4096];
        let said = self.0.stdout.as_mut().unwrap();
        loop {
            match said.read(&mut buffer) {
                Ok(0) | Err(_) => return false,
                Ok(read) => heard.extend(&buffer[..read]),
            }
            if heard.windows(id.len()).any(|window| window == id.as_bytes()) {
                return true;
            }
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_workloads_that_connect_at_once_all_get_their_svid_and_hear_of_the_next() {
    // Both ends of all of them are in this process.
    let files = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: files.maximum,
        ..files
    };
    setrlimit(Resource::Nofile, all).unwrap();
    // These clients answer no pings.
    let patience = Patience {
        ping: Duration::from_hours(1),
        ..Patience::default()
    };
    let served = Served::with_patience(Limits::default(), patience);
    drop(served.channel().await);
    let directory = served.socket.parent().unwrap();
    set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    let authority = Authority::new("td.test");
    let required = || RequiredSelectors::parse(&[format!("unix:gid:{GROUP}")]).unwrap();
    served.agent.publish(
        vec![Offer::ready(required(), authority.svid("/crowd"))],
        [authority.bundle()],
    );
    let socket = served.socket.clone();
    // On threads of its own: it waits for processes.
    let crowd = tokio::task::spawn_blocking(move || {
        let mut crowd: Vec<_> = (0..WORKLOADS)
            .map(|number| Workload::start(&socket, number))
            .collect();
        let served = crowd.iter_mut().filter_map(|workload| {
            let hears = workload.hears("spiffe://td.test/crowd");
            hears.then_some(())
        });
        assert_eq!(served.count(), 1000);
        crowd
    });
    let mut crowd = crowd.await.unwrap();
    served.agent.publish(
        vec![Offer::ready(required(), authority.svid("/crowd/next"))],
        [authority.bundle()],
    );
    let told = tokio::task::spawn_blocking(move || {
        let hears = |workload: &mut Workload| workload.hears("spiffe://td.test/crowd/next");
        crowd.iter_mut().map(hears).filter(|hears| *hears).count()
    });
    assert_eq!(told.await.unwrap(), 1000);
}
