//! `run --validate`: the configuration, looked at without starting the daemon.

use std::process::ExitCode;

use signet_preflight::Preflight;

use crate::args::RunArgs;

/// Says everything that is wrong.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let mut preflight = Preflight::new();
    preflight.log_filter(Some(&args.log_filter()));
    preflight.directory("--run-dir", &args.run_dir);
    if let Some(address) = args.metrics_listen {
        preflight.listen("--metrics-listen", address);
    }
    if !args.bpffs.exists() {
        preflight.remark(format_args!(
            "--bpffs {}: it is not there yet; signet-meshd makes it",
            args.bpffs.display()
        ));
    }
    preflight.conclude("signet-keyd")
}
