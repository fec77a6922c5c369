//! Starting, stopping, and databases.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Debian's `nobody` and `nogroup`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// Until it answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends the server when it is told to by a line on standard input. When that ends without one, the process that held the
/// other end has ended: the directory goes, too.
const GUARD: &str = r#"
exec 3<&0 </dev/null
directory=$1
shift
"$@" &
pid=$!
told=no
read -r _ <&3 && told=yes
kill -INT "$pid"
wait "$pid"
[ "$told" = yes ] || rm -rf "$directory"
"#;

/// Why there is no PostgreSQL.
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
            Self::Missing => {
                f.write_str("PostgreSQL is not installed (Debian's package `postgresql`; scripts/setup test)")
            }
            Self::Broken(why) => write!(f, "PostgreSQL does not start: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    directory: TempDir,
    binaries: PathBuf,
    password: String,
    guard: Option<(Child, ChildStdin)>,
    databases: AtomicU32,
    durable: bool,
}

impl Server {
    /// Makes a cluster of databases and starts its server.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        Self::new(false)
    }

    /// The same, but what is committed is on the disk, as where it matters: for measurements.
    ///
    /// # Errors
    /// What [`Server::start`] says.
    pub fn start_durable() -> Result<Self, Error> {
        Self::new(true)
    }

    fn new(durable: bool) -> Result<Self, Error> {
        let binaries = binaries().ok_or(Error::Missing)?;
        let directory = tempfile::Builder::new().prefix("signet-pg-").tempdir()?;
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
        }
        // Daemons that have given up their privileges reach the socket, too; the password keeps others out.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
        let password = password()?;
        let file = directory.path().join("password");
        fs::write(&file, &password)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        if is_root() {
            chown(&file, Some(NOBODY), Some(NOBODY))?;
        }
        let mut server = Self {
            directory,
            binaries,
            password,
            guard: None,
            databases: AtomicU32::new(0),
            durable,
        };
        let made = server
            .command("initdb")
            .args([
                "-U",
                "signet",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(server.data())
            .arg("--pwfile")
            .arg(&file)
            .output()?;
        if !made.status.success() {
            return Err(Error::Broken(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        server.run()?;
        Ok(server)
    }

    /// Starts the server again after [`Server::stop`], on what it has stored.
    ///
    /// # Errors
    /// It does not start.
    pub fn run(&mut self) -> Result<(), Error> {
        let log = fs::File::create(self.directory.path().join("log"))?;
        let postgres = self.command("postgres");
        let mut guard = Command::new("/bin/sh");
        guard
            .args(["-c", GUARD, "guard"])
            .arg(self.directory.path())
            .arg(postgres.get_program())
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.directory.path())
            // No network is listened on.
            .args(["-c", "listen_addresses=", "-c", "max_connections=200"])
            // What tests store does not have to survive a power cut.
            .args(["-c", if self.durable { "fsync=on" } else { "fsync=off" }])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir(self.directory.path());
        unprivileged(&mut guard);
        let mut child = guard.spawn()?;
        let Some(input) = child.stdin.take() else {
            return Err(Error::Broken("the guard has no standard input".to_owned()));
        };
        self.guard = Some((child, input));
        let end = Instant::now() + PATIENCE;
        while self.ask("SELECT 1").is_err() {
            if Instant::now() > end {
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                return Err(Error::Broken(log));
            }
            // Waits for a process; no executor is involved.
            let (_keep, never) = std::sync::mpsc::channel::<()>();
            let _ = never.recv_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends the server at once, all connections with it.
    pub fn stop(&mut self) {
        if let Some((mut child, mut input)) = self.guard.take() {
            // If nobody reads it, nobody is there to be told.
            let _ = input.write_all(b"stop\n");
            drop(input);
            let _ = child.wait();
        }
    }

    /// A new, empty database, as a URL.
    ///
    /// # Errors
    /// The server refused.
    pub fn database(&self) -> Result<String, Error> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.ask(&format!("CREATE DATABASE {name}"))?;
        Ok(format!(
            "postgres://signet:{}@localhost/{name}?host={}",
            self.password,
            self.directory.path().display()
        ))
    }

    /// A client of its version (`psql`, `pg_dump`), to be given the URL of a database; as the caller, whose files it reads and writes.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.stdin(Stdio::null());
        command
    }

    /// Runs one statement as the superuser, in the database `postgres`.
    fn ask(&self, statement: &str) -> Result<(), Error> {
        // Before psql is started in vain.
        UnixStream::connect(self.directory.path().join(".s.PGSQL.5432"))?;
        let asked = self
            .command("psql")
            .env("PGPASSWORD", &self.password)
            .args([
                "-X",
                "-q",
                "-U",
                "signet",
                "-d",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
                "-h",
            ])
            .arg(self.directory.path())
            .output()?;
        if asked.status.success() {
            Ok(())
        } else {
            Err(Error::Broken(String::from_utf8_lossy(&asked.stderr).into_owned()))
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.stdin(Stdio::null()).current_dir(self.directory.path());
        unprivileged(&mut command);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn password() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unprivileged(command: &mut Command) {
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Where Debian keeps them: the newest version.
fn binaries() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<_> = debian
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let debian = versions.into_iter().rev().map(|(_, path)| path);
    let path = env::var_os("PATH").unwrap_or_default();
    debian.chain(env::split_paths(&path)).find(|directory| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|name| is_file(&directory.join(name)))
    })
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}
