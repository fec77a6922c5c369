//! The datapath of one node: maps, programs and attachments.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::maps::MapError;
use aya::programs::SchedClassifier;
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfError, EbpfLoader};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::attach::{self, Attachment};
use crate::capacities::Capacities;
use crate::error::DatapathError;
use crate::hook::Hook;
use crate::interface::Interface;
use crate::layout::{self, Adoption};
use crate::run::{self, Run, RunInput};
use crate::{bpffs, object};

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// tcx links, Linux 6.6.
    Tcx,
    /// Classic tc filters.
    Classic,
}

impl AttachMode {
    /// The best that this kernel has.
    pub fn of_this_kernel() -> Self {
        let tcx = KernelVersion::new(6, 6, 0);
        if KernelVersion::current().is_ok_and(|version| version >= tcx) {
            Self::Tcx
        } else {
            Self::Classic
        }
    }
}

/// What a loaded program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramReport {
    /// Which program.
    pub hook: Hook,
    /// Instructions that the verifier looked at; it gives up at a million.
    pub verified: u32,
    /// Bytes of machine code.
    pub native_bytes: u32,
    /// How long the kernel took to verify and compile it.
    pub load_time: Duration,
}

/// Loaded programs and pinned maps.
///
/// Dropping it takes nothing away: what is attached goes on judging packets. [`Datapath::remove`] does.
#[derive(Debug)]
pub struct Datapath {
    directory: PathBuf,
    ebpf: Ebpf,
    adoption: Adoption,
    mode: AttachMode,
    load_times: [Duration; Hook::ALL.len()],
}

impl Datapath {
    /// Makes or adopts the maps under `directory` and loads the programs. Nothing is attached or replaced yet, so
    /// that the maps can be filled first: empty ones let nothing through.
    ///
    /// # Errors
    /// If the directory cannot be made part of a bpf file system, or the kernel refuses a map or program.
    pub fn load(directory: &Path, capacities: &Capacities) -> Result<Self, DatapathError> {
        Self::load_with(directory, capacities, AttachMode::of_this_kernel())
    }

    /// [`Datapath::load`] with a chosen way of attaching.
    pub fn load_with(
        directory: &Path,
        capacities: &Capacities,
        mode: AttachMode,
    ) -> Result<Self, DatapathError> {
        bpffs::prepare(directory)?;
        // Kernels before 5.11 count maps against this limit. Where it cannot be raised, making a map says so.
        let _ = setrlimit(
            Resource::Memlock,
            Rlimit {
                current: None,
                maximum: None,
            },
        );
        let adoption = layout::adopt(directory, capacities)?;
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(directory);
        for name in layout::names() {
            if let Some(entries) = capacities.of(name) {
                loader.map_max_entries(name, entries);
            }
        }
        let mut ebpf = loader.load(object::PROGRAMS).map_err(load_error)?;
        let mut load_times = [Duration::ZERO; Hook::ALL.len()];
        for (hook, load_time) in Hook::ALL.into_iter().zip(&mut load_times) {
            let began = Instant::now();
            program(&mut ebpf, hook)?
                .load()
                .map_err(|source| DatapathError::Program {
                    hook,
                    source: Box::new(source),
                })?;
            *load_time = began.elapsed();
        }
        attach::prune(&bpffs::links(directory))?;
        Ok(Self {
            directory: directory.to_owned(),
            ebpf,
            adoption,
            mode,
            load_times,
        })
    }

    /// Whether every map of an earlier run goes on with its contents.
    pub fn adopted(&self) -> bool {
        self.adoption.replaced.is_empty() && self.adoption.adopted.len() == layout::names().count()
    }

    /// Maps of an earlier run that did not fit this version, or the wanted capacity, and were made anew, empty. Other
    /// daemons have to open them again.
    pub fn replaced(&self) -> &[&'static str] {
        &self.adoption.replaced
    }

    /// How programs are attached.
    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// Judges a workload's traffic in both directions at the host side of its veth.
    pub fn attach_endpoint(&mut self, interface: &str) -> Result<Interface, DatapathError> {
        self.attach(interface, &[Hook::ToContainer, Hook::FromContainer])
    }

    /// Watches an uplink in both directions.
    pub fn attach_uplink(&mut self, interface: &str) -> Result<Interface, DatapathError> {
        self.attach(interface, &[Hook::FromNetdev, Hook::ToNetdev])
    }

    /// Marks what comes out of the tunnel device.
    pub fn attach_tunnel(&mut self, interface: &str) -> Result<Interface, DatapathError> {
        self.attach(interface, &[Hook::FromTunnel])
    }

    /// Takes what comes back from the parking device to where it was taken from.
    pub fn attach_parking(&mut self, interface: &str) -> Result<Interface, DatapathError> {
        self.attach(interface, &[Hook::FromParking])
    }

    /// Takes the programs of a workload's interface away; says whether there were any. Traffic of that interface is
    /// not judged from then on.
    pub fn detach_endpoint(&mut self, ifindex: u32) -> Result<bool, DatapathError> {
        self.detach(ifindex, &[Hook::FromContainer, Hook::ToContainer])
    }

    /// Takes the programs of an uplink away; says whether there were any.
    pub fn detach_uplink(&mut self, ifindex: u32) -> Result<bool, DatapathError> {
        self.detach(ifindex, &[Hook::ToNetdev, Hook::FromNetdev])
    }

    /// Takes the program of a tunnel device away; says whether there was one.
    pub fn detach_tunnel(&mut self, ifindex: u32) -> Result<bool, DatapathError> {
        self.detach(ifindex, &[Hook::FromTunnel])
    }

    /// What is attached, by this run or an earlier one. What belongs to vanished interfaces is cleaned up.
    pub fn attached(&self) -> Result<Vec<Attachment>, DatapathError> {
        let links = bpffs::links(&self.directory);
        attach::prune(&links)?;
        attach::list(&links)
    }

    /// What the kernel says of each program: its cost at load time and in memory.
    pub fn programs(&mut self) -> Result<Vec<ProgramReport>, DatapathError> {
        Hook::ALL
            .into_iter()
            .zip(self.load_times)
            .map(|(hook, load_time)| {
                let info =
                    program(&mut self.ebpf, hook)?
                        .info()
                        .map_err(|source| DatapathError::Program {
                            hook,
                            source: Box::new(source),
                        })?;
                Ok(ProgramReport {
                    hook,
                    verified: info.verified_instruction_count().unwrap_or(0),
                    native_bytes: info.size_jitted(),
                    load_time,
                })
            })
            .collect()
    }

    /// Runs a program on a packet of our own making, without attaching it.
    pub fn run(&mut self, hook: Hook, input: RunInput<'_>) -> Result<Run, DatapathError> {
        Ok(self.transform(hook, input)?.0)
    }

    /// The same, with the packet as the program leaves it.
    pub fn transform(&mut self, hook: Hook, input: RunInput<'_>) -> Result<(Run, Vec<u8>), DatapathError> {
        run::run(program(&mut self.ebpf, hook)?, hook, input)
    }

    /// Detaches everything under `directory` and removes the maps. Nothing is judged afterwards.
    pub fn remove(directory: &Path) -> Result<(), DatapathError> {
        let links = bpffs::links(directory);
        if !directory.exists() {
            return Ok(());
        }
        if links.exists() {
            for attachment in attach::list(&links)? {
                attach::detach(&links, attachment.ifindex, attachment.hook)?;
            }
            remove(&links, |path| fs::remove_dir(path))?;
        }
        for name in layout::names() {
            remove(&directory.join(name), |path| fs::remove_file(path))?;
        }
        remove(directory, |path| fs::remove_dir(path))
    }

    fn attach(&mut self, interface: &str, hooks: &[Hook]) -> Result<Interface, DatapathError> {
        let interface = Interface::named(interface)?;
        let links = bpffs::links(&self.directory);
        for &hook in hooks {
            attach::attach(
                program(&mut self.ebpf, hook)?,
                hook,
                &interface,
                &links,
                self.mode,
            )?;
        }
        Ok(interface)
    }

    fn detach(&mut self, ifindex: u32, hooks: &[Hook]) -> Result<bool, DatapathError> {
        let links = bpffs::links(&self.directory);
        let mut found = false;
        for &hook in hooks {
            found |= attach::detach(&links, ifindex, hook)?;
        }
        Ok(found)
    }
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier, DatapathError> {
    ebpf.program_mut(hook.program())
        .and_then(|program| program.try_into().ok())
        .ok_or(DatapathError::NoProgram { hook })
}

fn load_error(source: EbpfError) -> DatapathError {
    let denied = matches!(
        &source,
        EbpfError::MapError(MapError::CreateError { io_error, .. }) if io_error.kind() == ErrorKind::PermissionDenied
    );
    let source = Box::new(source);
    if denied {
        DatapathError::NotPermitted { source }
    } else {
        DatapathError::Load { source }
    }
}

fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), DatapathError> {
    match how(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(DatapathError::PinDirectory {
            action: "remove",
            path: path.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}
