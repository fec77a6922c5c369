//! `run --validate`: the configuration, looked at without starting the daemon.

use std::path::Path;
use std::process::ExitCode;

use signet_preflight::Preflight;
use signet_source::read_directory;

use crate::args::RunArgs;

/// Says everything that is wrong.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let mut preflight = Preflight::new();
    preflight.log_filter(args.log.as_deref());
    preflight.directory("--run-dir", &args.run_dir);
    if let Some(address) = args.metrics_listen {
        preflight.listen("--metrics-listen", address);
    }
    for uplink in &args.uplinks {
        if !Path::new("/sys/class/net").join(uplink.as_str()).exists() {
            preflight.remark(format_args!(
                "--uplink {}: there is no such interface yet",
                uplink.as_str()
            ));
        }
    }
    match read_directory(&args.config_dir).result {
        Ok(set) => {
            preflight.check("--config-dir", Ok::<_, String>(()));
            if set.workloads().is_empty() && set.policies().is_empty() {
                preflight.remark(format_args!(
                    "--config-dir {}: there is nothing in it",
                    args.config_dir.display()
                ));
            }
        }
        Err(errors) => {
            for line in errors.lines() {
                preflight.check::<(), _>(
                    format_args!("--config-dir {}", args.config_dir.display()),
                    Err(line),
                );
            }
        }
    }
    preflight.conclude("signet-meshd")
}
