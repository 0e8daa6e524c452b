//! D-Bus, as much of it as a client needs that makes a call and waits for a signal: no
//! thread, no allocation that the other side sizes, and a deadline on everything. Why it is
//! not a crate is in docs/dependencies.md.
//!
//! ```text
//! let mut connection = Connection::open(&address, deadline)?;   connect, authenticate
//! let serial = connection.call(&Call { .. });                   calls go out together
//! let message = connection.receive()?;                             a reply, an error, a signal
//! ```

mod address;
mod connection;
pub mod gvariant;
mod message;
mod value;

pub use address::Address;
pub use connection::Connection;
pub use message::{Call, Incoming, Kind};
pub use value::Value;
