//! Loop 2: what happens to a record before it is stored.

pub mod split;
