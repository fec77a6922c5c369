//! Makes a lab and waits until it is ready.

mod ready;
mod register;
mod wait;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::mount::{MountFlags, mount};

use crate::control::{Role, start_supervisor};
use crate::lock::Lock;
use crate::paths::bpf_root;
use crate::state::LabState;
use crate::{LabError, LabFile, LabPaths, Plan, documents, net, processes};

/// How a lab is brought up.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Folder of the binaries; default: that of the running program (of `target/debug` for a test).
    pub bin_dir: Option<PathBuf>,
    /// How long the daemons may take to get ready.
    pub deadline: Duration,
    /// Whether to start daemons and workloads; without, a lab is plain networking.
    pub daemons: bool,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            bin_dir: None,
            deadline: Duration::from_mins(1),
            daemons: true,
        }
    }
}

/// A step of bringing a lab up has been reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Namespaces, links, addresses and routes are there.
    Network {
        /// How many namespaces.
        namespaces: usize,
    },
    /// The CA answers.
    Ca,
    /// So many nodes have attested.
    Attested {
        /// Done.
        done: usize,
        /// Of these.
        of: usize,
    },
    /// All workloads that should be are registered.
    Registered {
        /// How many.
        workloads: usize,
    },
    /// So many nodes have all daemons connected, all SVIDs issued and all endpoints ready.
    Ready {
        /// Done.
        done: usize,
        /// Of these.
        of: usize,
    },
    /// Every pair of nodes sends encrypted.
    Encrypted,
}

/// Makes a lab. On failure what was made stays, for a look at it; [`crate::down`] removes it.
pub async fn up(
    file: &LabFile,
    options: &UpOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<LabState, LabError> {
    let plan = Plan::new(file)?;
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let bin_dir = match &options.bin_dir {
        Some(dir) => fs::canonicalize(dir).map_err(LabError::io("find", dir))?,
        None => own_folder()?,
    };
    if options.daemons {
        check_binaries(&bin_dir)?;
    }
    let paths = LabPaths::new(&plan.lab);
    let _lock = Lock::take(&paths)?;
    if paths.run_dir().exists() || !net::list(&paths.netns_prefix())?.is_empty() {
        return Err(LabError::Exists(plan.lab));
    }
    let state = LabState {
        plan,
        bin_dir,
        created: unix_now(),
        daemons: options.daemons,
    };
    lay_out(&state, &paths)?;
    make_network(&state.plan, &paths)?;
    progress(Progress::Network {
        namespaces: state.plan.places().count(),
    });
    if options.daemons {
        start_supervisor(&state, &paths)?;
        wait::Wait::new(&state.plan, &paths, options.deadline)
            .until_ready(progress)
            .await?;
    }
    Ok(state)
}

/// Folders, documents, the state file.
fn lay_out(state: &LabState, paths: &LabPaths) -> Result<(), LabError> {
    let folders = [paths.run_dir(), paths.logs(), paths.holds()].into_iter();
    for folder in folders.chain(state.plan.nodes.iter().map(|node| paths.node_run(&node.name))) {
        fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
    }
    let private = state
        .plan
        .nodes
        .iter()
        .map(|node| processes::agent_data(paths, &node.name));
    for folder in private.chain([paths.ca_dir()]) {
        fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&folder, mode).map_err(LabError::io("protect", &folder))?;
    }
    mount_bpffs()?;
    for node in &state.plan.nodes {
        let pins = paths.node_bpffs(&node.name);
        fs::create_dir_all(&pins).map_err(LabError::io("make", pins))?;
    }
    documents::write(&state.plan, paths)?;
    state.write(paths)
}

/// Namespaces, their settings, links, addresses, routes.
fn make_network(plan: &Plan, paths: &LabPaths) -> Result<(), LabError> {
    let names: Vec<_> = plan.places().map(|place| paths.netns_name(place)).collect();
    net::create(&names)?;
    net::apply_sysctls(plan, paths)?;
    net::links(plan, paths)?;
    net::configure(plan, paths)
}

/// Mounts the BPF file system where it is missing.
fn mount_bpffs() -> Result<(), LabError> {
    let Some(root) = bpf_root().parent() else {
        return Ok(());
    };
    // statfs(2): BPF_FS_MAGIC.
    if rustix::fs::statfs(root).is_ok_and(|fs| fs.f_type == 0xcafe_4a11) {
        return Ok(());
    }
    let mounted = mount("bpf", root, "bpf", MountFlags::empty(), None);
    mounted.map_err(|errno| LabError::io("mount the BPF file system at", root)(errno.into()))
}

/// The folder of the running program; a test's is one deeper.
fn own_folder() -> Result<PathBuf, LabError> {
    let program = std::env::current_exe().map_err(LabError::io("find", "/proc/self/exe"))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if deps {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    }
    .to_owned())
}

/// All binaries are there before anything is made.
fn check_binaries(dir: &Path) -> Result<(), LabError> {
    let daemons = Role::ALL.into_iter().filter_map(Role::binary);
    match daemons
        .chain(["signet"])
        .find(|binary| !dir.join(binary).is_file())
    {
        Some(binary) => Err(LabError::NoBinary {
            binary,
            dir: dir.to_owned(),
        }),
        None => Ok(()),
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
