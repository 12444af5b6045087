//! auditferry
fn main() {}
