use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use rustix::process::geteuid;
use tokio::net::UnixListener;

use crate::PeerStream;

/// Pause after a failed `accept` (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
/// a temporary name and renamed. Its directory must be there.
///
/// # Errors
/// See [`BindError`].
pub fn serve_incoming(
    path: &Path,
    access: Access,
) -> Result<impl Stream<Item = io::Result<PeerStream>> + Send + use<>, BindError> {
    let listener = bind(path, access)?;
    Ok(unfold(listener, move |listener| async move {
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
                Ok(stream) if access.admits(stream.peer().uid) => return Some((Ok(stream), listener)),
                Ok(stream) => {
                    let peer = stream.peer();
                    tracing::warn!(
                        peer.uid,
                        peer.pid,
                        "refused a connection: only root and this user may connect"
                    );
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
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(io)?;
    std::fs::set_permissions(&temporary, Permissions::from_mode(access.mode())).map_err(io)?;
    std::fs::rename(&temporary, path).map_err(io)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

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
