//! Builds the kernel programs with whichever toolchain of the machine can, and leaves the object for embedding.
//!
//! Stable Rust has no `core` for the kernel's target. Debian's `rustc-web` has one prebuilt; rustup's nightly builds
//! it from `rust-src`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const TARGET: &str = "bpfel-unknown-none";
const RUSTFLAGS: &str = "-Clinker=bpf-linker\x1f-Clink-arg=--btf\x1f-Cdebuginfo=2";
const BINARY: &str = "signet-programs";

/// Variables of the outer build that would lead the inner one astray.
const FOREIGN: [&str; 11] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={}", message.replace('\n', "\ncargo::error="));
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let ebpf = manifest.parent().ok_or("this crate has no parent folder")?;
    let programs = ebpf.join("programs");
    for input in [
        "programs/src",
        "programs/Cargo.toml",
        "programs/Cargo.lock",
        "abi/src",
        "abi/Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", ebpf.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let linker = find_linker()?;
    let toolchain = find_toolchain()?;
    let target_dir = target_dir(&out);
    let mut cargo = toolchain.command();
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    toolchain.prepare(&mut cargo);
    let output = cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            TARGET,
            "--manifest-path",
        ])
        .arg(programs.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .args(toolchain.flags())
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS)
        .env("PATH", path_with(&linker)?)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("failed to start {}: {error}", toolchain.name()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the kernel programs did not build with {}:\n{text}",
            toolchain.name()
        ));
    }
    let object = target_dir.join(TARGET).join("release").join(BINARY);
    fs::copy(&object, out.join("signet-programs.o"))
        .map(|_| ())
        .map_err(|error| format!("failed to copy {}: {error}", object.display()))
}

/// A toolchain with a `core` for the kernel's target.
enum Toolchain {
    /// The distribution's, with a prebuilt `core`.
    System { cargo: PathBuf, rustc: PathBuf },
    /// rustup's nightly, which builds `core` itself.
    Nightly,
}

impl Toolchain {
    fn name(&self) -> &'static str {
        match self {
            Self::System { .. } => "the system's rustc (package rustc-web)",
            Self::Nightly => "rustup's nightly",
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::System { cargo, .. } => Command::new(cargo),
            Self::Nightly => {
                let mut rustup = Command::new("rustup");
                rustup.args(["run", "nightly", "cargo"]);
                rustup
            }
        }
    }

    fn prepare(&self, command: &mut Command) {
        if let Self::System { rustc, .. } = self {
            // aya-ebpf uses inline assembly, which is unstable for this target.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
    }

    fn flags(&self) -> &'static [&'static str] {
        match self {
            Self::System { .. } => &[],
            Self::Nightly => &["-Z", "build-std=core"],
        }
    }
}

fn find_toolchain() -> Result<Toolchain, String> {
    let (cargo, rustc) = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    let mut missing = Vec::new();
    if cargo.exists() && rustc.exists() {
        match sysroot(&mut Command::new(&rustc)) {
            Some(sysroot) if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() => {
                return Ok(Toolchain::System { cargo, rustc });
            }
            Some(_) => missing.push("/usr/bin/rustc is there, but its core library for the kernel is not"),
            None => missing.push("/usr/bin/rustc does not run"),
        }
    } else {
        missing.push("/usr/bin/rustc and /usr/bin/cargo are not there");
    }
    let mut nightly = Command::new("rustup");
    nightly
        .args(["run", "nightly", "rustc"])
        .env_remove("RUSTUP_TOOLCHAIN");
    match sysroot(&mut nightly) {
        Some(sysroot) if sysroot.join("lib/rustlib/src/rust/library/core").is_dir() => {
            return Ok(Toolchain::Nightly);
        }
        Some(_) => missing.push("rustup's nightly is there, but its rust-src is not"),
        None => missing.push("rustup has no nightly"),
    }
    Err(format!(
        "the kernel programs need a Rust toolchain with a core library for {TARGET}: {}.\n\
         Install one of:\n  \
         Debian 12:  apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf\n  \
         elsewhere:  rustup toolchain install nightly --component rust-src",
        missing.join("; "),
    ))
}

fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let output = rustc
        .args(["--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

/// The folder that holds bpf-linker.
fn find_linker() -> Result<PathBuf, String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .find(|folder| folder.join("bpf-linker").is_file())
        .ok_or_else(|| {
            "bpf-linker is missing, which links the kernel programs. Install it with:\n  \
             apt-get install llvm-22-dev libpolly-22-dev libzstd-dev zlib1g-dev   # the LLVM of your rustc\n  \
             LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22"
                .to_owned()
        })
}

fn path_with(folder: &Path) -> Result<OsString, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(env::split_paths(&path).chain([folder.to_owned()]))
        .map_err(|error| format!("failed to extend PATH: {error}"))
}

/// A folder that debug and release builds share (the programs are the same for both): beside the profiles' own.
fn target_dir(out: &Path) -> PathBuf {
    // <target>/<profile>/build/<package>-<hash>/out
    out.ancestors().nth(4).unwrap_or(out).join("kernel-programs")
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set: run this through cargo"))
}
