use std::path::Path;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

/// How long a connection attempt may take; a live daemon's socket answers in microseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A channel to the daemon that serves `path`. Connects at the first call, and again after a loss.
///
/// # Errors
/// The path cannot be written as a URI.
pub fn connect(path: &Path) -> Result<Channel, Error> {
    let endpoint = Endpoint::try_from(format!("unix://{}", path.display()))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy())
}
