//! The checks that daemons share.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::Preflight;

/// Largest file that is read to see whether it can be.
const MOST: u64 = 1024 * 1024;

impl Preflight {
    /// A file that is read, and its text.
    pub fn file(&mut self, option: &str, path: &Path) -> Option<String> {
        self.check(format_args!("{option} {}", path.display()), read(path))
    }

    /// The same of a file that nobody else should be able to read; daemons read it all the same.
    pub fn secret_file(&mut self, option: &str, path: &Path) -> Option<String> {
        let text = self.file(option, path)?;
        if let Err(error) = path.metadata().and_then(|metadata| private(&metadata)) {
            self.remark(format_args!("{option} {}: {error}", path.display()));
        }
        Some(text)
    }

    /// A directory that is written into. One that is missing is made, so where it would be has to be writable.
    pub fn directory(&mut self, option: &str, path: &Path) {
        self.check(format_args!("{option} {}", path.display()), writable(path));
    }

    /// The same of one that nobody else may enter.
    pub fn private_directory(&mut self, option: &str, path: &Path) {
        self.directory(option, path);
        if let Ok(metadata) = path.metadata() {
            self.check(format_args!("{option} {}", path.display()), private(&metadata));
        }
    }

    /// An address to listen on is one of this host's. Whether the port is free is left to the start: a running daemon has it.
    pub fn listen(&mut self, option: &str, address: SocketAddr) {
        let any_port = SocketAddr::new(address.ip(), 0);
        self.check(format_args!("{option} {address}"), TcpListener::bind(any_port));
    }

    /// A log filter.
    pub fn log_filter(&mut self, filter: Option<&str>) {
        self.check("--log", signet_telemetry::check_filter(filter.unwrap_or("info")));
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let read = file.take(MOST + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MOST {
        return Err(io::Error::other(format!("it has more than {MOST} bytes")));
    }
    Ok(text)
}

fn private(metadata: &Metadata) -> io::Result<()> {
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "its mode is {mode:o}: take the rights of group and others away (chmod go=)"
        )));
    }
    Ok(())
}

fn writable(path: &Path) -> io::Result<()> {
    let there = nearest_existing(path);
    if !there.metadata()?.is_dir() {
        return Err(io::Error::other(format!(
            "{} is not a directory",
            there.display()
        )));
    }
    access(&there, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| io::Error::other(format!("{} cannot be written into: {error}", there.display())))
}

/// The path, or the last of the directories above it that is there.
pub fn nearest_existing(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|above| above.exists());
    // The last one above a relative path is empty, and means here.
    there
        .filter(|above| !above.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_there_and_secrets_are_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "text").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let mut preflight = Preflight::new();
        assert_eq!(preflight.file("--f", &file).as_deref(), Some("text"));
        assert!(preflight.secret_file("--f", &file).is_some());
        assert!(preflight.remarks()[0].contains("640"), "{preflight:?}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(preflight.secret_file("--f", &file).is_some());
        assert_eq!(preflight.file("--f", directory.path()), None);
        assert_eq!(preflight.file("--f", &directory.path().join("none")), None);
        assert_eq!((preflight.problems().len(), preflight.remarks().len()), (2, 1));
    }

    #[test]
    fn a_directory_that_is_missing_is_judged_by_where_it_would_be_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("a/b/c");
        let mut preflight = Preflight::new();
        preflight.directory("--d", &missing);
        assert!(preflight.problems().is_empty() && !directory.path().join("a").exists());
        std::fs::write(directory.path().join("a"), "").unwrap();
        preflight.directory("--d", &missing);
        assert_eq!(preflight.problems().len(), 1, "{preflight:?}");
    }

    #[test]
    fn an_address_of_this_host_is_good_also_while_somebody_listens_on_it() {
        let mut preflight = Preflight::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        preflight.listen("--l", taken.local_addr().unwrap());
        assert!(preflight.problems().is_empty());
        preflight.listen("--l", "192.0.2.1:1".parse().unwrap());
        assert_eq!(preflight.problems().len(), 1);
    }
}
