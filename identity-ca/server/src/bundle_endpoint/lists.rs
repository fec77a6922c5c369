//! Revocation lists for whoever asks: in DER over HTTP, as RFC 5280 section 4.2.1.13 wants them found.
//!
//! They are the nodes' lists: one is signed for all, anew where revocations or authorities have changed or a quarter of its life is over.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use signet_proto::ca::v1::GetCrlResponse;
use tracing::warn;

use crate::ca::Ca;
use crate::hex;

/// Where the table of lists is. Each list is at `/crl/AUTHORITY.crl`, with the authority's subject key identifier.
const TABLE: &str = "/crl";

#[derive(Serialize)]
struct Table {
    lists: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    authority: String,
    href: String,
    number: u64,
    this_update: String,
    next_update: String,
}

/// Whether a path is one of ours.
pub(super) fn are_at(path: &str) -> bool {
    path.strip_prefix(TABLE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The table, or one list.
pub(super) async fn answer(ca: &Ca, path: &str) -> Response<Full<Bytes>> {
    // Before anything is read or signed for whoever guesses.
    let known = ca.signing.latest();
    if path != TABLE && !known.signers.iter().any(|one| href(one.as_bytes()) == path) {
        return with(StatusCode::NOT_FOUND, "text/plain", Bytes::new());
    }
    let lists = match ca.crl_for_all().await {
        Ok(lists) => lists,
        Err(error) => {
            warn!(error = error.message(), "no revocation list could be signed");
            return with(StatusCode::SERVICE_UNAVAILABLE, "text/plain", Bytes::new());
        }
    };
    find(&lists, path).unwrap_or_else(|| with(StatusCode::NOT_FOUND, "text/plain", Bytes::new()))
}

fn find(lists: &GetCrlResponse, path: &str) -> Option<Response<Full<Bytes>>> {
    if path == TABLE {
        let table = serde_json::to_vec(&table(lists)).ok()?;
        return Some(with(StatusCode::OK, "application/json", table.into()));
    }
    let list = lists.lists.iter().find(|list| href(&list.authority) == path)?;
    let der = Bytes::from(list.der.clone());
    // RFC 2585 section 4.2.
    Some(with(StatusCode::OK, "application/pkix-crl", der))
}

fn table(lists: &GetCrlResponse) -> Table {
    let time =
        |seconds| Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string());
    let row = |authority: &[u8]| Row {
        authority: hex::encode(authority),
        href: href(authority),
        number: lists.number,
        this_update: time(lists.this_update),
        next_update: time(lists.next_update),
    };
    Table {
        lists: lists.lists.iter().map(|list| row(&list.authority)).collect(),
    }
}

fn href(authority: &[u8]) -> String {
    let mut href = format!("{TABLE}/");
    // Writing to a String cannot fail.
    let _ = write!(href, "{}.crl", hex::encode(authority));
    href
}

fn with(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
