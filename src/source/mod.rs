//! Where audit content comes from.

pub mod office365;
