//! Attestation of real processes. Runs as root, as everything that makes namespaces does.

#![expect(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use signet_attest::{AttestError, Attestor, EndpointTable, NetnsInode, Process, Selectors};

/// A `cat` that runs, or what became it.
struct Running(Child);

impl Running {
    /// Starts a command and waits until it has become a `cat` that answers.
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"ready\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn process(&self, uid: u32, gid: u32) -> Process {
        let pid = rustix::process::Pid::from_child(&self.0);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        Process::new(self.0.id().cast_signed(), uid, gid, Some(pidfd.into())).unwrap()
    }

    /// As a kernel before 6.5 gives it: by number alone.
    fn process_by_number(&self, uid: u32, gid: u32) -> Process {
        Process::new(self.0.id().cast_signed(), uid, gid, None).unwrap()
    }

    fn netns(&self) -> NetnsInode {
        let link = std::fs::read_link(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        let inode = link
            .to_str()
            .unwrap()
            .trim_start_matches("net:[")
            .trim_end_matches(']');
        NetnsInode::new(inode.parse().unwrap()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct Program {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

/// A `cat` of our own: the same program with another content, so that its digest is its own.
fn program() -> Program {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("program");
    std::fs::copy("/bin/cat", &path).unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"own")
        .unwrap();
    Command::new("chmod")
        .arg("0755")
        .arg(dir.path())
        .status()
        .unwrap();
    Program { _dir: dir, path }
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("unix:sha256:{}", text.split_once(' ').unwrap().0)
}

fn attest(process: &Process) -> Result<Selectors, AttestError> {
    Attestor::default().attest(process, &EndpointTable::default())
}

fn has(selectors: &Selectors, text: &str) -> bool {
    selectors.iter().any(|selector| selector.to_string() == text)
}

#[test]
fn a_process_has_its_user_group_path_and_digest() {
    let program = program();
    let running = Running::start(Command::new(&program.path).uid(4242).gid(4343));
    let selectors = attest(&running.process(4242, 4343)).unwrap();
    let expected = [
        "unix:uid:4242".to_owned(),
        "unix:gid:4343".to_owned(),
        format!("unix:path:{}", program.path.display()),
        sha256(&program.path),
    ];
    assert_eq!(selectors.to_string(), expected.join(", "));
}

#[test]
fn a_process_that_may_be_another_of_its_user_gets_user_and_group_alone() {
    let program = program();
    let running = Running::start(Command::new(&program.path).uid(4242).gid(4343));
    let facts = Attestor::default()
        .facts(&running.process_by_number(4242, 4343))
        .unwrap();
    assert_eq!((facts.path, facts.sha256, facts.netns), (None, None, None));
    assert_eq!((facts.uid, facts.gid), (4242, 4343));
}

#[test]
fn a_process_that_ended_gets_nothing_even_while_its_pid_is_a_zombie() {
    let program = program();
    let mut running = Running::start(&mut Command::new(&program.path));
    let process = running.process(0, 0);
    attest(&process).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&running.0),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    while process.is_alive().unwrap() {
        std::thread::yield_now();
    }
    assert!(matches!(attest(&process), Err(AttestError::Ended)));
    running.0.wait().unwrap();
    assert!(matches!(attest(&process), Err(AttestError::Ended)));
}

#[test]
fn a_pid_that_now_belongs_to_another_gets_nothing() {
    let program = program();
    let ended = {
        let running = Running::start(&mut Command::new(&program.path));
        running.process(0, 0)
    };
    // A living process under the number, with the pidfd of the one that connected: what recycling looks like.
    let other = Running::start(&mut Command::new(&program.path));
    let pidfd = std::os::fd::AsFd::as_fd(&ended).try_clone_to_owned().unwrap();
    let recycled = Process::new(other.0.id().cast_signed(), 0, 0, Some(pidfd.into())).unwrap();
    assert!(attest(&other.process(0, 0)).is_ok());
    assert!(matches!(attest(&recycled), Err(AttestError::Ended)));
}

#[test]
fn a_process_whose_user_or_group_has_changed_since_it_connected_gets_nothing() {
    let program = program();
    let running = Running::start(Command::new(&program.path).uid(4242).gid(4343));
    assert!(attest(&running.process(4242, 4343)).is_ok());
    for (uid, gid) in [(4243, 4343), (4242, 4344), (0, 0)] {
        assert!(matches!(
            attest(&running.process(uid, gid)),
            Err(AttestError::CredentialsChanged)
        ));
    }
}

#[test]
fn a_path_in_a_mount_namespace_of_ones_own_is_not_believed() {
    let program = program();
    let script = format!(
        "mount --bind {} /bin/cat && exec /bin/cat",
        program.path.display()
    );
    let running = Running::start(Command::new("unshare").args(["--mount", "sh", "-c", &script]));
    let link = std::fs::read_link(format!("/proc/{}/exe", running.0.id())).unwrap();
    assert!(
        link.ends_with("bin/cat"),
        "it claims to be cat: {}",
        link.display()
    );
    let selectors = attest(&running.process(0, 0)).unwrap();
    assert!(!selectors.to_string().contains("unix:path"), "{selectors}");
    assert!(has(&selectors, &sha256(&program.path)), "{selectors}");
}

#[test]
fn a_deleted_or_replaced_executable_has_a_digest_but_no_path() {
    let program = program();
    let digest = sha256(&program.path);
    let running = Running::start(&mut Command::new(&program.path));
    std::fs::remove_file(&program.path).unwrap();
    let deleted = attest(&running.process(0, 0)).unwrap();
    std::fs::copy("/bin/true", &program.path).unwrap();
    let replaced = attest(&running.process(0, 0)).unwrap();
    for selectors in [deleted, replaced] {
        assert!(!selectors.to_string().contains("unix:path"), "{selectors}");
        assert!(has(&selectors, &digest), "{selectors}");
    }
}

#[test]
fn the_digest_follows_the_content_and_not_the_cache() {
    let program = program();
    let attestor = Attestor::default();
    let attest = |path: &Path| {
        let running = Running::start(&mut Command::new(path));
        attestor
            .attest(&running.process(0, 0), &EndpointTable::default())
            .unwrap()
    };
    assert!(has(&attest(&program.path), &sha256(&program.path)));
    std::fs::OpenOptions::new()
        .append(true)
        .open(&program.path)
        .unwrap()
        .write_all(b"more")
        .unwrap();
    assert!(has(&attest(&program.path), &sha256(&program.path)));
}

#[test]
fn the_network_namespace_gives_the_endpoint_and_another_does_not() {
    let program = program();
    let inside = Running::start(Command::new("unshare").arg("--net").arg(&program.path));
    let outside = Running::start(&mut Command::new(&program.path));
    let table: EndpointTable = [(inside.netns(), "shop/web".parse().unwrap())]
        .into_iter()
        .collect();
    let attest = |running: &Running| {
        Attestor::default()
            .attest(&running.process(0, 0), &table)
            .unwrap()
    };
    assert!(has(&attest(&inside), "endpoint:shop/web"));
    assert!(!attest(&outside).to_string().contains("endpoint"));
}
