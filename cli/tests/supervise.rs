//! The lab's supervisor, as the `signet` binary runs it, with scripts in the daemons' places. Needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use signet_lab::{Lab, LabError, LabFile, LabName, Role, SupervisorState, UpOptions, down, labs, net};

/// A lab of its own for each test; removed at the end, also of a failed one.
struct Fixture {
    name: LabName,
    file: LabFile,
    options: UpOptions,
    _bin: tempfile::TempDir,
}

impl Fixture {
    fn new(test: char, ca: &str) -> Self {
        let text =
            "name: x\nnodes: [{name: n1}]\nworkloads: [{name: web, node: n1, command: [sleep, '1000']}]\n";
        let name = LabName::parse(&format!("s{test}{}", std::process::id())).unwrap();
        let bin = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_signet"), bin.path().join("signet")).unwrap();
        script(&bin.path().join("signet-ca"), ca);
        for daemon in ["signet-agent", "signet-meshd", "signet-keyd"] {
            script(&bin.path().join(daemon), "echo started \"$@\"\nexec sleep 1000");
        }
        let options = UpOptions {
            bin_dir: Some(bin.path().to_owned()),
            deadline: Duration::from_millis(300),
            daemons: true,
        };
        let file = LabFile::parse(text, "test").unwrap().renamed(&name);
        Self {
            name,
            file,
            options,
            _bin: bin,
        }
    }

    /// These daemons never get ready: `up` ends with an error and leaves the lab.
    async fn up(&self) -> LabError {
        signet_lab::up(&self.file, &self.options, &mut |_| {})
            .await
            .unwrap_err()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = down(&self.name);
    }
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits for something that another process does.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "it never happened");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn processes_run_in_their_namespaces_come_back_when_killed_and_stay_down_on_hold() {
    let fixture = Fixture::new('a', "exec sleep 1000");
    let error = fixture.up().await;
    assert!(
        matches!(&error, LabError::NotReady { waiting_for, .. } if waiting_for.starts_with("ca of ca")),
        "{error}"
    );
    let lab = Lab::open(&fixture.name).unwrap();
    for (place, role) in [
        ("ca", Role::Ca),
        ("n1", Role::Meshd),
        ("n1", Role::Keyd),
        ("web", Role::Workload),
    ] {
        let pid = until(|| lab.pid(place, role).unwrap()).await;
        // The process is nsenter's until that has entered and become the daemon.
        let inside = lab.paths().netns(place);
        let own = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
        until(|| (net::inode(Path::new(&own)).ok() == net::inode(&inside).ok()).then_some(())).await;
    }
    let first = lab.pid("n1", Role::Meshd).unwrap().unwrap();
    lab.kill("n1", Role::Meshd).unwrap();
    let second = until(|| lab.pid("n1", Role::Meshd).unwrap().filter(|pid| *pid != first)).await;
    lab.hold("n1", Role::Meshd).unwrap();
    let held = |wanted: bool| {
        let state = SupervisorState::read(lab.paths()).unwrap().unwrap();
        (state.find("n1", Role::Meshd).unwrap().held == wanted).then_some(())
    };
    until(|| held(true)).await;
    assert_eq!(lab.pid("n1", Role::Meshd).unwrap(), None);
    lab.release("n1", Role::Meshd).unwrap();
    let third = until(|| lab.pid("n1", Role::Meshd).unwrap()).await;
    assert_ne!(second, third);
    let log = fs::read_to_string(lab.log("n1", Role::Meshd)).unwrap();
    assert!(log.contains("started run --node n1 "), "{log}");
}

#[tokio::test]
async fn a_daemon_that_keeps_ending_is_told_with_the_end_of_its_log() {
    let mut fixture = Fixture::new('b', "echo no room left >&2; exit 3");
    fixture.options.deadline = Duration::from_mins(2);
    let error = fixture.up().await.to_string();
    assert!(
        error.starts_with("ca of ca keeps ending (exit status: 3)"),
        "{error}"
    );
    assert!(error.ends_with("no room left"), "{error}");
}

#[tokio::test]
async fn down_clears_up_after_a_supervisor_that_was_killed() {
    let fixture = Fixture::new('c', "exec sleep 1000");
    fixture.up().await;
    let lab = Lab::open(&fixture.name).unwrap();
    let daemon = until(|| lab.pid("n1", Role::Keyd).unwrap()).await;
    let supervisor = SupervisorState::read(lab.paths()).unwrap().unwrap().pid;
    let killed = std::process::Command::new("kill")
        .args(["-9", &supervisor.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let alive = || {
        fs::read_to_string(format!("/proc/{}/cmdline", daemon.as_raw_nonzero()))
            .is_ok_and(|line| !line.is_empty())
    };
    assert!(alive(), "daemons outlive their supervisor");
    assert!(down(&fixture.name).unwrap());
    assert!(!alive());
    assert!(!labs().unwrap().contains(&fixture.name));
}
