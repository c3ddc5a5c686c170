//! REDbot, which reads answers as a strict cache would, on gated URLs of each kind of origin. Every complaint it has is
//! one that `docs/OPERATIONS.md` explains, and every complaint explained there is one it has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::chains::nginx_root;
use crate::support::program::{run, sample_media};
use crate::support::{Gate, Token, conf};

/// The ids of all notes that are warnings or worse.
fn complaints(har: &Value, found: &mut BTreeSet<String>) -> usize {
    let mut notes = 0;
    match har {
        Value::Object(members) => {
            if let (Some(level), Some(id)) = (members.get("level"), members.get("note_id")) {
                notes += 1;
                if level != "GOOD" && level != "INFO" {
                    found.insert(id.as_str().unwrap().to_owned());
                }
            }
            for value in members.values() {
                notes += complaints(value, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                notes += complaints(value, found);
            }
        }
        _ => {}
    }
    notes
}

/// The ids in the first column of the table below this heading.
fn explained() -> BTreeSet<String> {
    let page = include_str!("../../docs/OPERATIONS.md");
    let section = page.split("\n## What REDbot says\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect()
}

#[test]
fn redbot_has_no_complaint_that_is_not_explained() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("a.txt"), "plain text, again and again\n".repeat(200)).unwrap();
    let page = format!(
        "<!doctype html><html lang=en><title>x</title><p>{}",
        "page ".repeat(300)
    );
    fs::write(root.join("a.html"), page).unwrap();
    fs::copy(sample_media().join("clip.mp4"), root.join("clip.mp4")).unwrap();
    fs::copy(sample_media().join("report.pdf"), root.join("report.pdf")).unwrap();
    let web = nginx_root(root);
    let disk = conf::folder(root).replace("origin.files", "origin.disk");
    let on_disk = conf::route_with("disk", "/disk", "strip_prefix = true");
    let gate = Gate::start(
        conf::http(web.address)
            + &disk
            + &conf::route_with("web", "/web", "strip_prefix = true")
            + &on_disk.replace("origin = \"files\"", "origin = \"disk\""),
    );
    let token = Token::whole();
    let mut found = BTreeSet::new();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/redbot");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("redbot");
    for target in [
        token.at("/disk/clip.mp4"),
        token.at("/disk/a.txt"),
        token.at("/disk/a.html"),
        token.before("/disk/report.pdf"),
        token.at("/disk/nothing"),
        token.at("/web/clip.mp4"),
        token.at("/web/a.txt"),
        token.at("/web/a.html"),
        token.before("/web/report.pdf"),
        token.at("/web/moved"),
        token.at("/web/nothing"),
        "/disk/a.txt".to_owned(),
        "/nowhere".to_owned(),
    ] {
        let url = format!("http://{}{target}", gate.address());
        let arguments = [home.to_str().unwrap(), &url];
        let output = run(tool.to_str().unwrap(), &arguments, Duration::from_secs(300));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let har: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        let notes = complaints(&har, &mut found);
        assert!(notes >= 3, "{target}: REDbot said next to nothing: {har}");
    }
    assert_eq!(
        found,
        explained(),
        "left: what REDbot complains of; right: what the page explains"
    );
}
