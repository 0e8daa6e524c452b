//! What is said about a document: the place in it ([`field`]), and the violations and warnings that a
//! walk over it has collected ([`findings`]). Below everything that has rules.

pub mod field;
pub mod findings;
