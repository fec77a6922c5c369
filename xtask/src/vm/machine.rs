//! QEMU: one boot, its output, its end.

use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use super::image::Image;
use super::kernel::Kernel;
use crate::process::{self, Ended};
use crate::tally::Tally;

/// What the guest gets.
pub(crate) struct Machine {
    /// MiB.
    pub(crate) memory: u32,
    /// Virtual processors.
    pub(crate) processors: u32,
    /// After which the guest is killed.
    pub(crate) limit: Duration,
}

/// `mitigations=off`: the guest runs our own code only, and emulating them is slow. `panic=-1` with `-no-reboot`: a
/// panic ends QEMU at once, without the end mark.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=2 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0 init=/init rdinit=/init";

impl Machine {
    /// Boots, shows the guest's output, counts its tests. A guest that ends with a status but no failed test counts as
    /// one failure; one that does not end is an error.
    pub(crate) fn run(&self, kernel: &Kernel, image: &Image) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut exit = None;
        let ended = process::stream(self.command(kernel, image), self.limit, |line| {
            let line = line.trim_end_matches('\r');
            if let Some(status) = end_mark(line) {
                exit = Some(status);
            } else {
                println!("{line}");
                tally.line(line);
            }
        })?;
        match (ended, exit) {
            (_, Some(0)) => {}
            (_, Some(status)) => {
                if tally.failed() == 0 {
                    tally.stage_failed(&format!("the guest's script ended with status {status}"));
                }
            }
            (Ended::DeadlinePassed, None) => {
                bail!("the guest had not finished after {} s", self.limit.as_secs())
            }
            (Ended::Exited(status), None) => {
                bail!(
                    "the guest stopped before its script had ended (QEMU: {status}); its last lines say why"
                );
            }
        }
        Ok(tally)
    }

    fn command(&self, kernel: &Kernel, image: &Image) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-M",
                "pc",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-nodefaults",
                "-no-reboot",
            ])
            .args(["-display", "none", "-serial", "stdio"])
            .args([
                "-m",
                &self.memory.to_string(),
                "-smp",
                &self.processors.to_string(),
            ])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&image.path)
            .args(["-append", COMMAND_LINE]);
        command
    }
}

/// The status in the guest's last line.
fn end_mark(line: &str) -> Option<i32> {
    line.split_once("@@signet-vm exit=")?
        .1
        .split_once("@@")?
        .0
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_mark_is_read_even_behind_other_output() {
        assert_eq!(end_mark("@@signet-vm exit=0@@"), Some(0));
        assert_eq!(end_mark("[ 3.1] tun: x@@signet-vm exit=125@@"), Some(125));
        assert_eq!(end_mark("test result: ok. 1 passed"), None);
    }
}
