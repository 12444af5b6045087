//! The commands, one file each.

pub mod map;
mod split;
