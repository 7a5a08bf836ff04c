//! Keys for repeats: a request with a key commits once, however often it is sent.
//!
//! Before the write, a claim is created once under the key: it fixes the commit's id and from which
//! place on it can be in the branch's log. A repeat reads the claim and the log from there: it finds
//! the commit, or carries on with the same id. Whoever appends at a place has read everything
//! before it, so the commit lands once, whichever process is faster. The entry in the log is the
//! record; a claim alone proves nothing and binds nobody:
//!
//! - A request that committed nothing leaves a claim behind. Sent again, it carries on with it.
//! - The same key with another request finds a claim that is not its own. If that one's commit is
//!   in the log, this is a mismatch. If not, it claims the key anew, in the next place.
//!
//! How another operation with its own loop takes part:
//!
//! ```text
//! let _running = graph.admit(keyed)?;                                     // in_progress
//! let ticket = match graph.claim(keyed, target, &state).await? {
//!     Claimed::Answered(commit) => return replay(commit),                 // replayed: true
//!     Claimed::Open(ticket) => ticket,
//! };
//! // commit.id = ticket.commit; commit.idempotency = ticket.proof(record)
//! // before each run on a head, and after each lost append: ticket.answer(graph, upto)
//! ```
//!
//! A [`crate::graph::writer::Write`] run by [`Graph::commit_with`] gets all of this by itself.

mod claim;
mod fingerprint;
mod keyed;
mod running;
mod scan;
mod ticket;

pub(crate) use self::fingerprint::Fingerprint;
pub(crate) use self::keyed::{Keyed, recorded};
pub(super) use self::running::Running;
pub(super) use self::scan::Trail;
pub(crate) use self::ticket::{Claimed, Ticket};
