//! Puts programs behind interfaces, so that they stay when the daemon goes.
//!
//! With tcx (Linux 6.6) an attachment is a link, pinned as `links/<ifindex>_<program>`; replacing its program is one
//! step. Before that it is a classic tc filter at a fixed priority and handle, and the "pin" an empty directory that
//! remembers it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle, qdisc_add_clsact,
    qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier};

use crate::datapath::AttachMode;
use crate::error::DatapathError;
use crate::hook::Hook;
use crate::interface::Interface;

/// Where classic filters are put: before everybody else's.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x5147);

/// A program behind an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Which program.
    pub hook: Hook,
    /// Kernel's number of the interface.
    pub ifindex: u32,
    /// The interface's name; none once it is gone.
    pub interface: Option<String>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Attaches, or replaces what an earlier run has attached.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &Interface,
    links: &Path,
    mode: AttachMode,
) -> Result<(), DatapathError> {
    let pin = pin(links, interface.index, hook);
    let result = match mode {
        AttachMode::Tcx => attach_tcx(program, hook, interface, &pin),
        AttachMode::Classic => attach_classic(program, hook, interface, &pin),
    };
    result.map_err(|source| DatapathError::Attach {
        hook,
        interface: interface.name.clone(),
        source,
    })
}

fn attach_tcx(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &Interface,
    pin: &Path,
) -> Result<(), Cause> {
    if pin.is_dir() {
        // Left by a run with classic filters. The new link comes first, so that no packet slips through between.
        fs::remove_dir(pin)?;
        let link = new_link(program, hook, interface)?;
        link.pin(pin)?;
        let _ = qdisc_detach_program(&interface.name, hook.side(), hook.program());
        return Ok(());
    }
    if pin.exists() {
        if replace_link(program, hook, interface, pin).is_ok() {
            return Ok(());
        }
        // Its interface is gone (the number was given to another), or it is no link of ours.
        fs::remove_file(pin)?;
    }
    new_link(program, hook, interface)?.pin(pin)?;
    Ok(())
}

/// First in line: no program before ours can let a packet pass that ours would refuse.
fn new_link(program: &mut SchedClassifier, hook: Hook, interface: &Interface) -> Result<FdLink, Cause> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(&interface.name, hook.side(), options)?;
    Ok(FdLink::try_from(program.take_link(id)?)?)
}

fn replace_link(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &Interface,
    pin: &Path,
) -> Result<(), Cause> {
    let link = SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(pin)?))?;
    let id = program.attach_to_link(link)?;
    // The link stays, because it is pinned.
    drop(program.take_link(id)?);
    match is_attached(program, hook, interface) {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::Error::new(ErrorKind::NotFound, "the link belongs to another interface").into()),
        // Looking a program up by its number takes CAP_SYS_ADMIN, which the daemon has given up. The update says enough: a
        // link whose interface is gone refuses it (ENOLINK, kernel/bpf/tcx.c), and one that lives is on the interface whose
        // number its pin has.
        Err(error) if is_not_permitted(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_not_permitted(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn is_attached(program: &SchedClassifier, hook: Hook, interface: &Interface) -> Result<bool, ProgramError> {
    let ours = program.info()?.id();
    let (_, programs) = SchedClassifier::query_tcx(&interface.name, hook.side())?;
    Ok(programs.iter().any(|info| info.id() == ours))
}

fn attach_classic(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &Interface,
    pin: &Path,
) -> Result<(), Cause> {
    if pin.is_file() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "a tcx link of an earlier run is there; a kernel that had tcx still has it: use it",
        )
        .into());
    }
    // It is there already, if this is not the first program; if it cannot be made, attaching says so.
    let _ = qdisc_add_clsact(&interface.name);
    let existing = SchedClassifierLink::attached(&interface.name, hook.side(), PRIORITY, HANDLE, None)?;
    let id = match program.attach_to_link(existing) {
        Ok(id) => id,
        Err(_) => new_filter(program, hook, interface)?,
    };
    // The filter stays: only an explicit request takes it away.
    std::mem::forget(program.take_link(id)?);
    match fs::create_dir(pin) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn new_filter(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &Interface,
) -> Result<SchedClassifierLinkId, ProgramError> {
    let options = NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        classid: None,
    };
    program.attach_with_options(&interface.name, hook.side(), TcAttachOptions::Netlink(options))
}

/// Takes a program away; says whether it was there.
pub(crate) fn detach(links: &Path, index: u32, hook: Hook) -> Result<bool, DatapathError> {
    let pin = pin(links, index, hook);
    let failed = |source: Cause| DatapathError::Detach { hook, index, source };
    if pin.is_dir() {
        if let Some(interface) = Interface::indexed(index)? {
            match qdisc_detach_program(&interface.name, hook.side(), hook.program()) {
                Err(aya::programs::tc::TcError::IoError(error)) if error.kind() == ErrorKind::NotFound => {}
                result => result.map_err(|source| failed(source.into()))?,
            }
        }
        fs::remove_dir(&pin).map_err(|source| failed(source.into()))?;
        return Ok(true);
    }
    match fs::remove_file(&pin) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed(source.into())),
    }
}

/// What earlier and present runs have attached, sorted.
pub(crate) fn list(links: &Path) -> Result<Vec<Attachment>, DatapathError> {
    let read = |source| DatapathError::PinDirectory {
        action: "read",
        path: links.to_owned(),
        source,
    };
    let mut attachments = Vec::new();
    for entry in fs::read_dir(links).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        let Some((ifindex, hook)) = name.to_str().and_then(parse) else {
            continue;
        };
        let interface = Interface::indexed(ifindex)?.map(|interface| interface.name);
        attachments.push(Attachment {
            hook,
            ifindex,
            interface,
        });
    }
    attachments.sort_by_key(|attachment| (attachment.ifindex, attachment.hook));
    Ok(attachments)
}

/// Removes what is left of interfaces that are gone.
pub(crate) fn prune(links: &Path) -> Result<(), DatapathError> {
    for attachment in list(links)?
        .iter()
        .filter(|attachment| attachment.interface.is_none())
    {
        detach(links, attachment.ifindex, attachment.hook)?;
        tracing::debug!(ifindex = attachment.ifindex, hook = %attachment.hook, "interface is gone, link removed");
    }
    Ok(())
}

// bpffs reserves dots in names.
fn pin(links: &Path, index: u32, hook: Hook) -> PathBuf {
    links.join(format!("{index}_{}", hook.program()))
}

fn parse(name: &str) -> Option<(u32, Hook)> {
    let (index, program) = name.split_once('_')?;
    Some((index.parse().ok()?, Hook::from_program(program)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_names_its_interface_and_program() {
        for hook in Hook::ALL {
            let pin = pin(Path::new("/x/links"), 42, hook);
            assert_eq!(
                pin.file_name().and_then(|name| parse(name.to_str()?)),
                Some((42, hook))
            );
        }
    }

    #[test]
    fn foreign_files_are_left_alone() {
        for name in ["", "42", "x_from_container", "42_from_nowhere", "-1_to_netdev"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
