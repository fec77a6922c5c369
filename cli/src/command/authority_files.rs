//! `signet ca authority csr` and `import`: certificates that another CA signs, carried as files.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use signet_proto::ca::v1::{ImportAuthorityRequest, RequestAuthorityRequest};

use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::authority::{Step, StepView};

/// Longest file with a chain that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// Writes a request.
pub(crate) async fn csr(file: Option<&Path>, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let mut client = ca.upstream.clone();
    let call = client.request_authority(RequestAuthorityRequest {});
    let csr = ca.daemon.answer(call).await?.csr;
    let Some(path) = file else {
        return output.write(&csr);
    };
    std::fs::write(path, &csr)
        .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    output.remark(&format!(
        "{}: have it signed, put the root's certificate at the chain's end, then `signet ca authority import CHAIN.pem`",
        path.display()
    ));
    Ok(())
}

/// Hands in what came back.
pub(crate) async fn import(path: &Path, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let unreadable = |error| Failure::Usage(format!("{} cannot be read: {error}", path.display()));
    let mut chain = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut chain)
        .map_err(unreadable)?;
    if u64::try_from(chain.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Failure::Usage(format!(
            "{} is longer than a chain is",
            path.display()
        )));
    }
    let mut client = ca.upstream.clone();
    let call = client.import_authority(ImportAuthorityRequest { chain });
    let done = ca.daemon.answer(call).await?;
    output.show(&StepView::new(Step::Prepare, false, done))
}
