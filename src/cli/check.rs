//! `mediagate check`: the configuration is right; what it does, route by route, and what deserves a second look.

use super::Failed;
use crate::config::{Loaded, in_file};

pub(super) fn check(loaded: &Loaded) -> Result<(), Failed> {
    let listeners = &loaded.listeners;
    println!("{} is right", loaded.file.display());
    for gate in &listeners.gate {
        println!("gate {gate}");
    }
    if let Some(issuer) = listeners.issuer {
        println!("issuer {issuer}");
    }
    println!("admin {}", listeners.admin);
    for policy in &loaded.policies {
        println!("\n{}", policy.to_string().trim_end());
    }
    for warning in &loaded.warnings {
        eprintln!("warning: {}", in_file(&loaded.file, warning));
    }
    Ok(())
}
