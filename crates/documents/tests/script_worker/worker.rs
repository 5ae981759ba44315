//! Runs scripts for the tests of this crate, as the product's own binary does for it.

use std::process::ExitCode;

fn main() -> ExitCode {
    scripts::work()
}
