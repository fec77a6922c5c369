//! docs/quickstart.md, line by line as it stands there, by a user without rights, on a machine that has nothing but loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Longer than any step may take: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);
/// Somebody who is nobody.
const USER: u32 = 4400;
/// Programs that the page has built.
const BUILT: [&str; 5] = [
    "signet-ca",
    "signet-agent",
    "signet",
    "hello-server",
    "hello-client",
];
/// What a program says once the next line may be typed; the page says so, too.
const READY: [(&str, &str); 3] = [
    ("signet-ca run", "the CA is ready"),
    ("signet-agent run", "following the CA's view"),
    ("hello-server", "hello-server listens"),
];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/quickstart.md");
    fs::read_to_string(path).unwrap()
}

/// The lines of all blocks that are to be typed.
fn lines(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1);
    let block = |text: &str| text.split("```").next().unwrap_or_default().to_owned();
    blocks
        .map(block)
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// What the page promises.
fn promise(page: &str) -> String {
    let block = page.split("```\n").find(|block| block.contains(" says: "));
    block.unwrap().trim().to_owned()
}

/// A checkout in which everything is built, of that user.
fn checkout() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let built = directory.path().join("target/debug");
    fs::create_dir_all(&built).unwrap();
    let test = std::env::current_exe().unwrap();
    let from: PathBuf = test.ancestors().nth(2).unwrap().into();
    for program in BUILT {
        let (from, to) = (from.join(program), built.join(program));
        assert!(from.exists(), "{} is not built", from.display());
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).unwrap();
        }
    }
    for path in [directory.path(), &directory.path().join("target"), &built] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
    }
    directory
}

/// A shell in that checkout.
struct Shell {
    child: Child,
    said: PathBuf,
    _log: tempfile::TempDir,
}

impl Shell {
    fn open(checkout: &Path) -> Self {
        let log = tempfile::tempdir().unwrap();
        let said = log.path().join("said");
        let out = File::create(&said).unwrap();
        let user = USER.to_string();
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
            .args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"])
            .args(["--bounding-set", "-all", "bash"])
            .current_dir(checkout)
            .env("HOME", checkout)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self {
            child,
            said,
            _log: log,
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.said).unwrap()).into_owned()
    }

    fn wait_for(&self, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.said().contains(what) {
            assert!(Instant::now() < until, "no {what:?} in {}", self.said());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Types a line, and waits until the next one may be typed. Its exit status, where it is waited for.
    fn type_line(&mut self, number: usize, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}\necho \"line {number} ended with $?.\"").unwrap();
        self.wait_for(&format!("line {number} ended with 0."));
        for (program, word) in READY {
            if line.starts_with(program) {
                self.wait_for(word);
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // What it started is in its group. They may have ended; either way nothing is left behind.
        let _ = kill_process_group(group, Signal::KILL);
        drop(self.child.wait());
    }
}

#[test]
fn the_quick_start_s_nine_lines_end_in_a_mutual_tls_connection() {
    let page = page();
    let lines = lines(&page);
    assert!(
        lines.len() < 10,
        "{} lines are ten or more: {lines:#?}",
        lines.len()
    );
    for (_, word) in READY.iter().take(2) {
        assert!(page.contains(word), "the page does not say to wait for {word:?}");
    }
    // The first two are done already: this is the checkout, and it is built.
    let (clone, build) = (&lines[0], &lines[1]);
    assert!(
        clone.starts_with("git clone ") && clone.ends_with("&& cd signet"),
        "{clone}"
    );
    let packages = build
        .strip_prefix("cargo build")
        .unwrap_or_else(|| panic!("{build}"));
    assert_eq!(packages, " -p signet-ca -p signet-agent -p signet -p mutual-tls");

    let checkout = checkout();
    let mut shell = Shell::open(checkout.path());
    for (number, line) in lines.iter().enumerate().skip(2) {
        shell.type_line(number, line);
    }
    shell.wait_for(&promise(&page));

    // What the page says about somebody else.
    let other = "hello-client spiffe://example.org/client && echo TOOK ANOTHER || echo refused another";
    shell.type_line(100, other);
    assert!(shell.said().contains("refused another") && !shell.said().contains("TOOK ANOTHER"));
    let copy = "cp target/debug/hello-client . && { ./hello-client spiffe://example.org/server && echo TOOK A COPY || echo refused a copy; }";
    shell.type_line(101, copy);
    assert!(shell.said().contains("refused a copy") && !shell.said().contains("TOOK A COPY"));
    let revoke = "signet ca revoke --spiffe-id spiffe://example.org/client --reason test --yes && ! timeout 5 hello-client spiffe://example.org/server";
    shell.type_line(102, revoke);
}
