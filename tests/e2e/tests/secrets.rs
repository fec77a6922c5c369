//! No secret in a log or a core dump, and no workload's key on a disk: the real daemons at trace level through a whole life, and then a search for everything that
//! must not be there, however it might be written.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    BundleRequest, CreateJoinTokenRequest, RegisterRequest, RevokeRequest, StatusRequest,
};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{JwtsvidRequest, ValidateJwtsvidRequest, X509svidRequest};
use tokio::time::sleep;
use tonic::Request;
use tonic::transport::Channel;

/// Only a test that fails waits so long.
const SOON: Duration = Duration::from_mins(1);

/// What seals the CA's keys.
const PASSPHRASE: &str = "tin-otter-walks-seven-miles";

/// A daemon that may leave a core dump if it does not see to it that it cannot.
struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(name: &str, home: &Path, arguments: &[&str]) -> Self {
        let log = home.join(format!("{name}.{}.log", arguments.len()));
        let binary = std::env::current_exe().unwrap();
        let binary = binary.parent().unwrap().parent().unwrap().join(name);
        let file = File::options().append(true).create(true).open(&log).unwrap();
        let process = Command::new("sh")
            .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
            .arg(binary)
            .args(arguments)
            .current_dir(home)
            .env("SIGNET_LOG", "trace")
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, log }
    }

    /// SIGABRT, which by default dumps core.
    fn abort(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(6));
        assert!(!status.core_dumped(), "a core dump was made");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A secret, and in which ways it might be written.
struct Secret {
    what: &'static str,
    bytes: Vec<u8>,
}

impl Secret {
    fn needles(&self) -> Vec<Vec<u8>> {
        let part = &self.bytes[..self.bytes.len().min(24)];
        let hex = hex(part);
        let list: Vec<_> = part.iter().map(ToString::to_string).collect();
        let escaped: String = part.iter().map(|byte| byte.escape_ascii().to_string()).collect();
        let mut needles = vec![
            part.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            list.join(", ").into_bytes(),
            list.join(",").into_bytes(),
            escaped.into_bytes(),
        ];
        // Base64 begins at any of three places; the ends are of other bytes, too.
        for skip in 0..3 {
            let part = &part[skip.min(part.len())..];
            for encoded in [base64(part, *b"+/"), base64(part, *b"-_")] {
                needles.push(encoded[..encoded.len().saturating_sub(3)].to_vec());
            }
        }
        needles
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn base64(bytes: &[u8], last: [u8; 2]) -> Vec<u8> {
    let alphabet: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(last)
        .collect();
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let number = group
            .iter()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let number = number << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(alphabet[number >> (18 - 6 * place) & 63]);
        }
    }
    text
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.len() >= 8 && haystack.windows(needle.len()).any(|window| window == needle)
}

/// The secret number in a PKCS#8 key of P-256: 32 bytes behind `04 20`.
fn scalar(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8
        .windows(2)
        .position(|window| window == [0x04, 0x20])
        .unwrap();
    pkcs8[at + 2..at + 34].to_vec()
}

fn decoded(pem: &str) -> Vec<u8> {
    let body: String = pem
        .lines()
        .skip_while(|line| !line.contains("PRIVATE KEY"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----"))
        .collect();
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bytes: Vec<u8> = body.bytes().filter(|byte| *byte != b'=').collect();
    bytes
        .chunks(4)
        .flat_map(|group| {
            let number = group
                .iter()
                .fold(0_u32, |sum, byte| sum << 6 | u32::from(value(*byte)));
            let number = number << (6 * (4 - group.len()));
            number.to_be_bytes()[1..group.len()].to_vec()
        })
        .collect()
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

struct Site {
    home: tempfile::TempDir,
    operator: OperatorServiceClient<Channel>,
    workload: SpiffeWorkloadApiClient<Channel>,
}

impl Site {
    fn at(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn ca(&self, listen: &str) -> Daemon {
        let (data, socket, passphrase) = (self.at("data"), self.at("ca.sock"), self.at("passphrase"));
        Daemon::start(
            "signet-ca",
            self.home.path(),
            &[
                "run",
                "--trust-domain",
                "td",
                "--listen",
                listen,
                "--data-dir",
                &data,
                "--socket",
                &socket,
                "--key-passphrase-file",
                &passphrase,
                "--audit-log",
                &self.at("audit.log"),
            ],
        )
    }

    fn agent(&self, ca: &str) -> Daemon {
        let at = ["bundle.pem", "token", "agent", "run", "none"].map(|name| self.at(name));
        let [bundle, token, data, run, bpffs] = &at;
        Daemon::start(
            "signet-agent",
            self.home.path(),
            &[
                "run",
                "--node",
                "n1",
                "--ca",
                ca,
                "--trust-bundle",
                bundle,
                "--join-token-file",
                token,
                "--data-dir",
                data,
                "--run-dir",
                run,
                "--bpffs",
                bpffs,
                "--listen",
                "127.0.0.1:0",
            ],
        )
    }

    async fn is_up(&self) {
        until("the CA answers", || async {
            self.operator.clone().status(StatusRequest {}).await.ok()
        })
        .await;
    }

    /// The key of the workload's SVID, and a token.
    async fn serve(&self) -> (Vec<u8>, String) {
        let key = until("the workload has an SVID", || async {
            let call = self
                .workload
                .clone()
                .fetch_x509svid(with_header(X509svidRequest {}))
                .await;
            let message = call.ok()?.into_inner().message().await.ok()??;
            Some(message.svids.first()?.x509_svid_key.clone())
        })
        .await;
        let token = until("the workload has a token", || async {
            let request = JwtsvidRequest {
                audience: vec!["somebody".to_owned()],
                spiffe_id: String::new(),
            };
            let answer = self
                .workload
                .clone()
                .fetch_jwtsvid(with_header(request))
                .await
                .ok()?;
            Some(answer.into_inner().svids.first()?.svid.clone())
        })
        .await;
        let validate = ValidateJwtsvidRequest {
            audience: "somebody".to_owned(),
            svid: token.clone(),
        };
        self.workload
            .clone()
            .validate_jwtsvid(with_header(validate))
            .await
            .unwrap();
        (key, token)
    }
}

fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "one life of all the daemons, told in its order"
)]
async fn no_secret_is_in_a_log_at_trace_level_or_in_a_core_dump() {
    let home = tempfile::tempdir().unwrap();
    let site = Site {
        operator: OperatorServiceClient::new(signet_uds::connect(&home.path().join("ca.sock")).unwrap()),
        workload: SpiffeWorkloadApiClient::new(
            signet_uds::connect(&home.path().join("run/workload.sock")).unwrap(),
        ),
        home,
    };
    fs::write(site.at("passphrase"), PASSPHRASE).unwrap();
    std::os::unix::fs::chown(site.at("passphrase"), None, None).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(site.at("passphrase"), mode).unwrap();
    let address = free_port();
    let mut ca = site.ca(&address);
    site.is_up().await;
    let token = CreateJoinTokenRequest {
        node: "n1".to_owned(),
        ..CreateJoinTokenRequest::default()
    };
    let join_token = site
        .operator
        .clone()
        .create_join_token(token)
        .await
        .unwrap()
        .into_inner()
        .token;
    fs::write(site.at("token"), &join_token).unwrap();
    let bundle = site
        .operator
        .clone()
        .bundle(BundleRequest {})
        .await
        .unwrap()
        .into_inner();
    fs::write(site.at("bundle.pem"), bundle.pem).unwrap();
    let register = RegisterRequest {
        spiffe_id: "spiffe://td/web".to_owned(),
        node: "n1".to_owned(),
        selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
        ..RegisterRequest::default()
    };
    site.operator.clone().register(register).await.unwrap();
    let mut agent = site.agent(&address);
    let (first_key, first_token) = site.serve().await;
    let node_key = node_key(&site);

    // All again after both were killed, and something is refused, too.
    until("the agent has kept its state", || async {
        fs::metadata(site.home.path().join("agent/kept-state")).ok()
    })
    .await;
    assert!(!on_disk(&site, &first_key), "a workload's key is on the disk");
    agent.abort();
    ca.abort();
    let logs = [ca.log.clone(), agent.log.clone()];
    let _ca = site.ca(&address);
    let _agent = site.agent(&address);
    site.is_up().await;
    let (second_key, second_token) = site.serve().await;
    assert!(!on_disk(&site, &second_key), "a workload's key is on the disk");
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId("spiffe://td/web".to_owned())),
        reason: "leaked".to_owned(),
        ..RevokeRequest::default()
    };
    site.operator.clone().revoke(revoke).await.unwrap();
    until("the token counts no more", || async {
        let validate = ValidateJwtsvidRequest {
            audience: "somebody".to_owned(),
            svid: second_token.clone(),
        };
        site.workload
            .clone()
            .validate_jwtsvid(with_header(validate))
            .await
            .err()
    })
    .await;

    let text = |what, text: &str| Secret {
        what,
        bytes: text.as_bytes().to_vec(),
    };
    // Of a token, the signature is what makes it one; the end of a join token is its secret.
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let secrets = [
        text("the passphrase", PASSPHRASE),
        text("the join token", &join_token[join_token.len() - 24..]),
        text("a token", &signature(&first_token)),
        text("a later token", &signature(&second_token)),
        Secret {
            what: "a workload's key",
            bytes: scalar(&first_key),
        },
        Secret {
            what: "a later key of the workload",
            bytes: scalar(&second_key),
        },
        Secret {
            what: "the node's key",
            bytes: node_key,
        },
    ];
    let audit = PathBuf::from(site.at("audit.log"));
    for (log, sign) in logs
        .into_iter()
        .map(|log| (log, "TRACE"))
        .chain([(audit, "CreateJoinToken")])
    {
        let log_text = fs::read(&log).unwrap();
        let shown = String::from_utf8_lossy(&log_text);
        assert!(shown.contains(sign), "{} has no {sign}", log.display());
        for secret in &secrets {
            for needle in secret.needles() {
                assert!(
                    !contains(&log_text, &needle),
                    "{} is in {}",
                    secret.what,
                    log.display()
                );
            }
        }
    }
    let cores = fs::read_dir(site.home.path()).unwrap();
    let cores = cores.filter(|file| {
        file.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("core")
    });
    assert_eq!(cores.count(), 0);
}

/// Whether a private key can be found in what the daemons keep.
fn on_disk(site: &Site, pkcs8: &[u8]) -> bool {
    let secret = Secret {
        what: "a workload's key",
        bytes: scalar(pkcs8),
    };
    let directories = [site.at("agent"), site.at("data")];
    let files = directories
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap());
    let files: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(files.len() > 2, "there is nothing to look into");
    let needles = secret.needles();
    files
        .iter()
        .any(|bytes| needles.iter().any(|needle| contains(bytes, needle)))
}

/// Of the file in which the agent keeps the node's key.
fn node_key(site: &Site) -> Vec<u8> {
    let files = fs::read_dir(site.at("agent")).unwrap();
    let pem = files
        .filter_map(|file| fs::read_to_string(file.unwrap().path()).ok())
        .find(|text| text.contains("PRIVATE KEY"))
        .unwrap();
    scalar(&decoded(&pem))
}

#[test]
fn what_is_looked_for_would_be_found() {
    let secret = Secret {
        what: "a key",
        bytes: (0x60..0x80).collect(),
    };
    let found = |text: &[u8]| secret.needles().iter().any(|needle| contains(text, needle));
    let bytes = &secret.bytes;
    assert!(found(format!("key {bytes:?} end").as_bytes()));
    assert!(found(
        format!("key {} end", String::from_utf8_lossy(&base64(bytes, *b"+/"))).as_bytes()
    ));
    let shifted = [b"x".as_slice(), bytes].concat();
    assert!(found(&base64(&shifted, *b"-_")));
    let hex = hex(bytes);
    assert!(found(hex.as_bytes()) && !found(b"nothing of the kind"));
}
