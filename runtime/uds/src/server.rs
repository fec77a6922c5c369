use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream::unfold;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::process::geteuid;
use signet_telemetry::Throttle;
use tokio::net::UnixListener;

use crate::directory::{self, Unsafe};
use crate::{PeerInfo, PeerStream};

/// Pause after a failed `accept` (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Of what is logged of those who may not connect: whoever reaches the socket file can be one.
static REFUSED: Throttle = Throttle::new(10, Duration::from_secs(10));

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The daemon's own user and root. The socket file has mode 0600, and each peer's credentials are checked besides.
    Owner,
    /// Every process that can reach the socket file (mode 0666). The service decides by [`crate::PeerInfo`].
    Anyone,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Anyone => 0o666,
        }
    }

    fn admits(self, uid: u32) -> bool {
        match self {
            Self::Owner => uid == 0 || uid == geteuid().as_raw(),
            Self::Anyone => true,
        }
    }
}

/// Why a socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers on the socket.
    #[error("{path}: another process serves this socket; stop it first")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket has the name.
    #[error("{path}: exists and is not a socket; remove it or choose another path")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else could put another socket in its place, or have this process change another file.
    #[error("{path}: no socket is served here, for {directory} is not safe: {why}")]
    Unsafe {
        /// The socket.
        path: PathBuf,
        /// The directory that it lies in, or one above.
        directory: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system refused.
    #[error("{path}: cannot serve a Unix socket here")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Binds `path` and yields the connections that `access` admits; others are closed and logged.
///
/// A socket file left by a dead process is replaced. The file gets its mode before it can be reached: it is bound under
/// a temporary name and renamed. Its directory must be there, and it and all above it belong to root or this user, who alone
/// may write to them, or alone may remove what they have put there.
///
/// # Errors
/// See [`BindError`].
pub fn serve_incoming(
    path: &Path,
    access: Access,
) -> Result<impl Stream<Item = io::Result<PeerStream>> + Send + use<>, BindError> {
    serve_admitted(path, access, move |peer| access.admits(peer.uid))
}

/// The same where `admits` decides, whatever [`Access`] says: that gives the file its mode alone.
///
/// # Errors
/// See [`BindError`].
pub fn serve_admitted<F>(
    path: &Path,
    access: Access,
    admits: F,
) -> Result<impl Stream<Item = io::Result<PeerStream>> + Send + use<F>, BindError>
where
    F: Fn(&PeerInfo) -> bool + Send + Sync + 'static,
{
    let listener = bind(path, access)?;
    let admits = Arc::new(admits);
    Ok(unfold((listener, admits), |(listener, admits)| async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept on a Unix socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match PeerStream::new(stream) {
                Ok(stream) if admits(stream.peer()) => return Some((Ok(stream), (listener, admits))),
                Ok(stream) => {
                    let peer = stream.peer();
                    if let Some(untold) = REFUSED.admit(Instant::now()) {
                        tracing::warn!(
                            peer.uid,
                            peer.pid,
                            untold,
                            "refused a connection: this user may not connect"
                        );
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "peer of a Unix socket went before its credentials were read");
                }
            }
        }
    }))
}

fn bind(path: &Path, access: Access) -> Result<UnixListener, BindError> {
    let io = |source| BindError::Io {
        path: path.to_owned(),
        source,
    };
    let (parent, name) = (path.parent(), path.file_name());
    let (Some(parent), Some(name)) = (parent, name) else {
        return Err(io(ErrorKind::InvalidInput.into()));
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let real = match directory::check(parent, geteuid().as_raw()).map_err(io)? {
        Ok(real) => real.join(name),
        Err(Unsafe { directory, why }) => {
            return Err(BindError::Unsafe {
                path: path.to_owned(),
                directory,
                why,
            });
        }
    };
    // A link in the path leads nowhere else from here on.
    let path = real.as_path();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(BindError::InUse {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(io)?;
    set_mode(&temporary, access.mode()).map_err(io)?;
    std::fs::rename(&temporary, path).map_err(io)?;
    Ok(listener)
}

/// Sets the mode of a socket, and of nothing else that may have got into its place: `chmod` would follow a link.
fn set_mode(socket: &Path, mode: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = open(socket, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&held)?.st_mode) != FileType::Socket {
        return Err(ErrorKind::InvalidInput.into());
    }
    // The kernel's own link to the very file that is held.
    let itself = format!("/proc/self/fd/{}", held.as_raw_fd());
    std::fs::set_permissions(itself, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::StreamExt;
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn the_peer_is_who_the_kernel_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let mut incoming = pin!(serve_incoming(&path, Access::Owner).unwrap());
        let _client = UnixStream::connect(&path).await.unwrap();
        let accepted = incoming.next().await.unwrap().unwrap();
        assert_eq!(accepted.peer().pid, std::process::id().cast_signed());
        assert_eq!(accepted.peer().uid, geteuid().as_raw());
        assert!(accepted.peer().pidfd.is_some());
    }

    #[test]
    fn owner_access_admits_root_and_self_alone() {
        let other = geteuid().as_raw().wrapping_add(4242);
        assert!(Access::Owner.admits(0));
        assert!(Access::Owner.admits(geteuid().as_raw()));
        assert!(!Access::Owner.admits(other));
        assert!(Access::Anyone.admits(other));
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(serve_incoming(&path, Access::Owner).unwrap());
        let live = serve_incoming(&path, Access::Owner).unwrap();
        assert!(matches!(
            serve_incoming(&path, Access::Owner),
            Err(BindError::InUse { .. })
        ));
        drop(live);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a file").unwrap();
        assert!(matches!(
            serve_incoming(&path, Access::Owner),
            Err(BindError::NotASocket { .. })
        ));
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_the_socket_is_refused_and_what_it_leads_to_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, secret) = (dir.path().join("s.sock"), dir.path().join("secret"));
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        for target in [secret.as_path(), Path::new("/nonexistent/somewhere")] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            let refused = serve_incoming(&path, Access::Anyone).map(drop).unwrap_err();
            assert!(matches!(refused, BindError::NotASocket { .. }), "{refused}");
            std::fs::remove_file(&path).unwrap();
        }
        // Where a link gets into the place of the new socket between two steps.
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        set_mode(&path, 0o666).unwrap_err();
        set_mode(&secret, 0o666).unwrap_err();
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode, std::fs::read(&secret).unwrap()),
            (0o600, b"secret".to_vec())
        );
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_the_name_before_the_last_step_is_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let elsewhere = dir.path().join("elsewhere");
        let temporary = dir.path().join(format!("s.sock.{}", std::process::id()));
        std::os::unix::fs::symlink(&elsewhere, &temporary).unwrap();
        let _served = serve_incoming(&path, Access::Anyone).unwrap();
        assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        assert!(!elsewhere.exists() && !temporary.exists());
    }

    #[tokio::test]
    async fn links_that_come_and_go_while_sockets_are_made_lead_nobody_astray() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let temporary = dir.path().join(format!("s.sock.{}", std::process::id()));
        let (secret, elsewhere) = (dir.path().join("secret"), dir.path().join("elsewhere"));
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        let targets = [secret.clone(), elsewhere.join("socket")];
        let ended = Arc::new(AtomicBool::new(false));
        let (end, link) = (Arc::clone(&ended), dir.path().join("link"));
        let places = [path.clone(), temporary];
        let attacker = std::thread::spawn(move || {
            for round in 0_usize.. {
                if end.load(Ordering::Relaxed) {
                    return round;
                }
                // In one step into the place of whatever is there.
                std::os::unix::fs::symlink(&targets[round % 2], &link).unwrap();
                std::fs::rename(&link, &places[round / 2 % 2]).unwrap();
            }
            0
        });
        let (mut served, mut refused) = (0, 0);
        for _ in 0..3000 {
            match serve_incoming(&path, Access::Anyone) {
                Ok(_listening) => served += 1,
                Err(_) => refused += 1,
            }
            // As an operator would, who finds a link there.
            if path.is_symlink() {
                let _gone = std::fs::remove_file(&path);
            }
        }
        ended.store(true, Ordering::Relaxed);
        assert!(
            attacker.join().unwrap() > 0 && served > 0 && refused > 0,
            "no race: {served} {refused}"
        );
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode, std::fs::read(&secret).unwrap()),
            (0o600, b"secret".to_vec())
        );
        assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none());
    }

    #[tokio::test]
    async fn in_a_directory_of_somebody_else_no_socket_is_served() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4242), None).unwrap();
        let refused = serve_incoming(&dir.path().join("s.sock"), Access::Anyone)
            .map(drop)
            .unwrap_err();
        assert!(
            refused.to_string().contains("belongs to another user"),
            "{refused}"
        );
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[tokio::test]
    async fn the_socket_file_has_the_mode_of_its_access() {
        let dir = tempfile::tempdir().unwrap();
        for (access, mode) in [(Access::Owner, 0o600), (Access::Anyone, 0o666)] {
            let path = dir.path().join(format!("{mode:o}"));
            let _served = serve_incoming(&path, access).unwrap();
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                mode
            );
        }
    }
}
