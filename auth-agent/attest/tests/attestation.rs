//! Attestation of real processes. Runs as root, as everything that makes namespaces does.

#![expect(clippy::unwrap_used, reason = "test helpers outside of #[test] functions")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use signet_attest::{AttestError, Attestor, EndpointTable, NetnsInode, Process, Selectors};
use tokio::sync::watch;

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
    Attestor::default().attest(process).map(|known| known.selectors)
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
    for told in expected {
        assert!(has(&selectors, &told), "{told}: {selectors}");
    }
}

#[test]
fn a_process_that_may_be_another_of_its_user_gets_user_and_group_alone() {
    let program = program();
    let running = Running::start(Command::new(&program.path).uid(4242).gid(4343));
    let table: EndpointTable = [(running.netns(), "shop/web".parse().unwrap())]
        .into_iter()
        .collect();
    let (_publish, table) = watch::channel(Some(Arc::new(table)));
    let known = Attestor::of_node(table).attest(&running.process_by_number(4242, 4343));
    assert_eq!(
        known.unwrap().selectors.to_string(),
        "unix:uid:4242, unix:gid:4343"
    );
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
        attestor.attest(&running.process(0, 0)).unwrap().selectors
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
    let (publish, published) = watch::channel(None);
    let attestor = Attestor::of_node(published);
    let mut changes = attestor.changes();
    let attest = |running: &Running| attestor.attest(&running.process(0, 0)).unwrap();
    assert!(!attest(&inside).complete, "nobody has told of endpoints yet");
    publish.send_replace(Some(Arc::new(table)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(changes.changed()).unwrap();
    assert!(has(&attest(&inside).selectors, "endpoint:shop/web") && attest(&inside).complete);
    assert!(!attest(&outside).selectors.to_string().contains("endpoint"));
    drop(publish);
    runtime.block_on(changes.changed()).unwrap_err();
}

/// A control group of the unified hierarchy, gone when dropped.
struct Group(PathBuf);

impl Group {
    fn new(path: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let unified = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(place))
        });
        let path = unified.unwrap().join(path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn enter(&self, running: &Running) {
        std::fs::write(self.0.join("cgroup.procs"), running.0.id().to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes are reaped by now.
        drop(std::fs::remove_dir(&self.0));
        // And the slice above it.
        drop(self.0.parent().map(std::fs::remove_dir));
    }
}

#[test]
fn the_control_group_and_the_unit_are_where_the_process_is_now() {
    let slice = format!("sgattest{}.slice", std::process::id());
    let unit = format!("{slice}/web.service");
    let group = Group::new(&unit);
    let running = Running::start(&mut Command::new("/bin/cat"));
    let before = attest(&running.process(0, 0)).unwrap();
    assert!(!has(&before, "systemd:unit:web.service"), "{before}");
    group.enter(&running);
    let inside = attest(&running.process(0, 0)).unwrap();
    assert!(has(&inside, "systemd:unit:web.service"), "{inside}");
    assert!(has(&inside, &format!("cgroup:path:/{unit}")), "{inside}");
    // Of one that is known by number alone it is not told.
    let by_number = attest(&running.process_by_number(0, 0)).unwrap();
    assert!(!by_number.to_string().contains("cgroup"), "{by_number}");
    drop(running);
}

#[test]
fn supplementary_groups_are_told_and_the_effective_one_is_not_among_them() {
    let script = "exec setpriv --reuid=4242 --regid=4343 --groups=4444,4545 /bin/cat";
    let running = Running::start(Command::new("sh").args(["-c", script]));
    let selectors = attest(&running.process(4242, 4343)).unwrap();
    for told in [
        "unix:supplementary_gid:4444",
        "unix:supplementary_gid:4545",
        "unix:gid:4343",
    ] {
        assert!(has(&selectors, told), "{told}: {selectors}");
    }
    for not in ["unix:supplementary_gid:4343", "unix:gid:4444"] {
        assert!(!has(&selectors, not), "{not}: {selectors}");
    }
}

#[test]
fn the_programs_above_are_told_and_the_process_s_own_is_not_among_them() {
    let program = program();
    // A shell that stays above it.
    let script = format!("{} ; true", program.path.display());
    let running = Running::start(Command::new("sh").args(["-c", &script]));
    let children = format!("/proc/{0}/task/{0}/children", running.0.id());
    let child = std::fs::read_to_string(children).unwrap();
    let pid: i32 = child.trim().parse().unwrap();
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::PidfdFlags::empty(),
    );
    let process = Process::new(pid, 0, 0, Some(pidfd.unwrap().into())).unwrap();
    let selectors = attest(&process).unwrap();
    let shell = std::fs::read_link(format!("/proc/{}/exe", running.0.id())).unwrap();
    let own = std::env::current_exe().unwrap();
    for above in [&shell, &own] {
        assert!(
            has(&selectors, &format!("unix:parent:path:{}", above.display())),
            "{selectors}"
        );
    }
    let itself = program.path.display();
    assert!(has(&selectors, &format!("unix:path:{itself}")), "{selectors}");
    assert!(
        !has(&selectors, &format!("unix:parent:path:{itself}")),
        "{selectors}"
    );
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn a_number_that_the_kernel_has_given_to_another_process_gets_nothing() {
    let program = program();
    let ended = {
        let running = Running::start(&mut Command::new(&program.path));
        running.process(0, 0)
    };
    let number = ended.pid();
    // The next process gets the number after the one that is written, unless somebody else is quicker.
    let recycled = (0..1000).find_map(|_| {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).unwrap();
        let running = Running::start(&mut Command::new(&program.path));
        (running.0.id().cast_signed() == number).then_some(running)
    });
    let recycled = recycled.unwrap();
    assert!(attest(&recycled.process(0, 0)).is_ok());
    assert!(matches!(attest(&ended), Err(AttestError::Ended)));
}
