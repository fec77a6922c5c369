//! The supervisor: one process per lab, outside its namespaces.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::backoff::Backoff;
use super::{Role, Supervised, SupervisorState, token};
use crate::processes::{ProcessSpec, processes};
use crate::state::LabState;
use crate::{LabError, LabName, LabPaths};

/// A log that has grown beyond this, in bytes, is set aside at the next start of its process.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;
/// An agent that ends sooner may have lost its token: it gets a fresh one.
const TOKEN_RETRY: Duration = Duration::from_secs(5);
/// How often a stopped process looks whether it may run again.
const HOLD_POLL: Duration = Duration::from_millis(50);

/// Starts the supervisor of a lab as a process of its own.
pub(crate) fn start(state: &LabState, paths: &LabPaths) -> Result<(), LabError> {
    let log = append(&paths.logs().join("supervisor.log"))?;
    let errors = log.try_clone().map_err(LabError::io("open", paths.logs()))?;
    let mut command = Command::new(state.bin_dir.join("signet"));
    command.args(["lab", "supervise", paths.lab().as_str()]);
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .current_dir("/");
    let child = command
        .spawn()
        .map_err(LabError::io("start", state.bin_dir.join("signet")))?;
    // Reaps it when it ends before we do; the thread costs nothing else.
    std::thread::spawn(move || {
        let mut child = child;
        let _ = child.wait();
    });
    Ok(())
}

/// Whether a `/proc` folder is that of a lab's supervisor.
pub(crate) fn is_supervisor(proc: &Path, lab: &LabName) -> bool {
    let Ok(line) = fs::read(proc.join("cmdline")) else {
        return false;
    };
    let arguments: Vec<_> = line.split(|byte| *byte == 0).collect();
    let program = arguments
        .first()
        .is_some_and(|program| program.ends_with(b"signet"));
    program && arguments.get(1..) == Some(&[b"lab".as_slice(), b"supervise", lab.as_str().as_bytes(), b""])
}

/// Runs the supervisor of a lab until it is told to end.
///
/// # Errors
/// The lab's state cannot be read, or signals cannot be received.
pub async fn supervise(lab: &LabName) -> Result<(), LabError> {
    // Already a leader: then there is nothing to leave.
    let _ = rustix::process::setsid();
    let paths = LabPaths::new(lab);
    let state = LabState::read(&paths)?;
    let specs = processes(&state.plan, &paths, &state.bin_dir);
    let board = Arc::new(Board::new(paths.clone(), &specs));
    board.write();
    let mut tasks = tokio::task::JoinSet::new();
    let state = Arc::new(state);
    for (index, spec) in specs.into_iter().enumerate() {
        tasks.spawn(keep_running(index, spec, Arc::clone(&board), Arc::clone(&state)));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(LabError::io("receive", "SIGTERM"))?;
    terminate.recv().await;
    // Children die with their handles.
    tasks.shutdown().await;
    Ok(())
}

/// One process, for the supervisor's life.
async fn keep_running(index: usize, spec: ProcessSpec, board: Arc<Board>, state: Arc<LabState>) {
    let mut backoff = Backoff::new();
    let mut token_wanted = spec.role == Role::Agent;
    let mut attested = false;
    loop {
        board.wait_while_held(index, &spec).await;
        if token_wanted {
            match provide_token(&board.paths, &spec, &state).await {
                Ok(()) => {}
                // A node that has attested before does without, when the CA does not answer.
                Err(_) if attested => {}
                Err(error) => {
                    board.update(index, |process| {
                        process.exit = Some(format!("waits for the CA: {error}"));
                    });
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            }
            attested = true;
        }
        let started = Instant::now();
        let exit = run(index, &spec, &board).await;
        let ran = started.elapsed();
        token_wanted = spec.role == Role::Agent && ran < TOKEN_RETRY && !board.is_held(&spec);
        board.update(index, |process| {
            process.pid = None;
            process.exit = Some(exit);
        });
        sleep(backoff.after(ran)).await;
        board.update(index, |process| {
            process.restarts = process.restarts.saturating_add(1);
        });
    }
}

/// Gets what a node's agent attests with.
async fn provide_token(paths: &LabPaths, spec: &ProcessSpec, state: &LabState) -> Result<(), LabError> {
    let Some(node) = state.plan.node(&spec.place) else {
        return Ok(());
    };
    token::provide(paths, node).await
}

/// Runs a process once; says how it ended.
async fn run(index: usize, spec: &ProcessSpec, board: &Board) -> String {
    match spawn(spec, &board.paths) {
        Err(error) => error.to_string(),
        Ok(mut child) => {
            board.update(index, |process| {
                process.pid = child.id().and_then(|pid| i32::try_from(pid).ok());
                process.started = unix_now();
                process.exit.take_if(|_| process.restarts == 0);
            });
            match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot wait for it: {error}"),
            }
        }
    }
}

fn spawn(spec: &ProcessSpec, paths: &LabPaths) -> Result<tokio::process::Child, LabError> {
    let log = append(&spec.log)?;
    let errors = log.try_clone().map_err(LabError::io("open", &spec.log))?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", paths.netns(&spec.place).display()))
        .arg("--")
        .args(&spec.argv);
    command.envs(spec.environment.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .current_dir("/");
    let mut command = tokio::process::Command::from(command);
    command
        .kill_on_drop(true)
        .spawn()
        .map_err(LabError::io("start", "nsenter"))
}

/// Opens a log for appending, after setting aside one that has grown too large.
fn append(path: &Path) -> Result<File, LabError> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_LIMIT) {
        fs::rename(path, path.with_extension("log.1")).map_err(LabError::io("rename", path))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(LabError::io("open", path))
}

/// The supervisor's state, written to its file at every change.
#[derive(Debug)]
struct Board {
    paths: LabPaths,
    state: Mutex<SupervisorState>,
}

impl Board {
    fn new(paths: LabPaths, specs: &[ProcessSpec]) -> Self {
        let fresh = |spec: &ProcessSpec| Supervised {
            place: spec.place.clone(),
            role: spec.role,
            pid: None,
            started: 0,
            restarts: 0,
            exit: None,
            held: false,
        };
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let state = SupervisorState {
            pid,
            processes: specs.iter().map(fresh).collect(),
        };
        Self {
            paths,
            state: Mutex::new(state),
        }
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Supervised)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.processes.get_mut(index).map(change);
        drop(state);
        self.write();
    }

    /// Writes beside and renames, so that readers see the old file or the new one. Without room on the disk the file
    /// stays as it was: supervising goes on.
    fn write(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.paths.supervisor_state();
        let beside = path.with_extension("tmp");
        let written = serde_json::to_vec(&*state)
            .map_err(std::io::Error::from)
            .and_then(|text| {
                File::create(&beside)?.write_all(&text)?;
                fs::rename(&beside, &path)
            });
        drop(written);
    }

    fn is_held(&self, spec: &ProcessSpec) -> bool {
        self.paths.holds().join(spec.file_name()).exists()
    }

    async fn wait_while_held(&self, index: usize, spec: &ProcessSpec) {
        if !self.is_held(spec) {
            return;
        }
        self.update(index, |process| process.held = true);
        while self.is_held(spec) {
            sleep(HOLD_POLL).await;
        }
        self.update(index, |process| process.held = false);
    }
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
