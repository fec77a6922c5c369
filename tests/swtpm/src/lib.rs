//! A TPM of a test's own: Debian's swtpm, in a temporary directory, reached through a Unix socket there. It ends with the
//! process that started it, however that ends.

mod authority;

pub use authority::Authority;

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends it when standard input ends: when whoever held the other end has ended.
const GUARD: &str = r#"
exec 3<&0 </dev/null
"$@" &
pid=$!
read -r _ <&3
kill "$pid"
wait "$pid"
"#;

/// Why there is no TPM.
#[derive(Debug)]
pub enum Error {
    /// Not installed.
    Missing,
    /// It is there and does not work.
    Broken(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "swtpm is not installed (Debian's packages `swtpm` and `swtpm-tools`; scripts/setup test)",
            ),
            Self::Broken(why) => write!(f, "swtpm does not start: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else {
            Self::Broken(error.to_string())
        }
    }
}

/// A running TPM.
#[derive(Debug)]
pub struct Swtpm {
    directory: TempDir,
    guard: Option<(Child, ChildStdin)>,
}

impl Swtpm {
    /// A new one, without a certificate of a maker's.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        let mut tpm = Self::made()?;
        tpm.run()?;
        Ok(tpm)
    }

    /// A new one from a maker of its own: `swtpm_setup` has put certificates for its endorsement keys into it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn manufactured() -> Result<Self, Error> {
        let mut tpm = Self::made()?;
        tpm.manufacture()?;
        tpm.run()?;
        Ok(tpm)
    }

    fn made() -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("signet-tpm-").tempdir()?;
        fs::create_dir(directory.path().join("state"))?;
        Ok(Self {
            directory,
            guard: None,
        })
    }

    /// What speaks the TPM's protocol.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// As agents are told where it is.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The root of the maker's, PEM; of one that was [manufactured](Self::manufactured).
    #[must_use]
    pub fn maker(&self) -> PathBuf {
        self.directory.path().join("maker/swtpm-localca-rootca-cert.pem")
    }

    /// The authority below it that has issued the TPM's certificates.
    #[must_use]
    pub fn issuer(&self) -> PathBuf {
        self.directory.path().join("maker/issuercert.pem")
    }

    fn manufacture(&self) -> Result<(), Error> {
        let home = self.directory.path();
        let maker = home.join("maker");
        fs::create_dir(&maker)?;
        let at = |name: &str| maker.join(name).display().to_string();
        fs::write(
            home.join("localca.conf"),
            format!(
                "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
                maker.display(),
                at("signkey.pem"),
                at("issuercert.pem"),
                at("certserial")
            ),
        )?;
        fs::write(
            home.join("localca.options"),
            "--tpm-manufacturer id:5349474E\n--tpm-model test\n--tpm-version 1\n--platform-manufacturer Signet\n--platform-model test\n--platform-version 1\n",
        )?;
        fs::write(
            home.join("setup.conf"),
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
                home.join("localca.conf").display(),
                home.join("localca.options").display()
            ),
        )?;
        let made = Command::new("swtpm_setup")
            .args(["--tpm2", "--create-ek-cert", "--lock-nvram", "--tpmstate"])
            .arg(home.join("state"))
            .arg("--config")
            .arg(home.join("setup.conf"))
            .output()?;
        if made.status.success() {
            Ok(())
        } else {
            Err(Error::Broken(
                String::from_utf8_lossy(&[made.stdout, made.stderr].concat()).into_owned(),
            ))
        }
    }

    /// Starts it again, on what it has stored.
    ///
    /// # Errors
    /// It does not start.
    pub fn run(&mut self) -> Result<(), Error> {
        let log = self.directory.path().join("log");
        let socket = self.socket();
        // What an earlier run left would look as if this one were ready.
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARD, "guard", "swtpm", "socket", "--tpm2"])
            .arg("--tpmstate")
            .arg(format!("dir={}", self.directory.path().join("state").display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .args(["--flags", "not-need-init,startup-clear"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let mut guard = command.spawn()?;
        let told = guard.stdin.take();
        self.guard = told.map(|told| (guard, told));
        let until = Instant::now() + PATIENCE;
        // To connect and to say nothing changes nothing.
        while UnixStream::connect(&socket).is_err() {
            if Instant::now() > until {
                return Err(broken(&log));
            }
            pause();
        }
        Ok(())
    }

    /// Ends it, as a machine that is switched off.
    pub fn stop(&mut self) {
        if let Some((mut guard, told)) = self.guard.take() {
            drop(told);
            let _ = guard.wait();
        }
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's set-up, before there is anything to wait for"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

fn broken(log: &Path) -> Error {
    let mut said = String::new();
    let _ = fs::File::open(log).and_then(|mut file| file.read_to_string(&mut said));
    if said.contains("not found") {
        Error::Missing
    } else {
        Error::Broken(said)
    }
}
