//! Leases: what nodes say of their workloads' addresses, and what of it is believed.
//!
//! A [`Table`] is what one node says. The [`Book`] has the tables of all nodes; it decides what of them the kernel is to know,
//! and lists the [`Write`]s that lead there. A [`Talk`] is both sides' part of one session. Nothing here opens a map or reads a clock; times are nanoseconds of
//! `CLOCK_BOOTTIME`.
//!
//! | a claim is believed if | else |
//! | --- | --- |
//! | its node is in the view and not banned | all that it said is forgotten |
//! | the SPIFFE ID is registered on that node | [`Refusal::NotRegistered`] |
//! | the address is in that node's pod CIDRs | [`Refusal::NotItsAddress`] |
//! | nobody else whose word counts may claim it and does | [`Refusal::Conflict`]: none of them is believed |

mod book;
mod claims;
mod facts;
mod table;
mod talk;

pub use book::{Book, BookError, Effects, News, Write};
pub use claims::{Entry, Superseded};
pub use facts::{Facts, Refusal};
pub use table::{Table, TableError};
pub use talk::{Moment, Talk, lasting};
