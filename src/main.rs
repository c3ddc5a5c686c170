//! mediagate.
fn main() {}
