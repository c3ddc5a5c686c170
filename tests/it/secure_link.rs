//! Side by side with a live nginx: the same links, the same decisions. nginx serves a folder behind `secure_link`, the gate
//! serves it from nginx' other door behind `[route.scheme.mac]` with what nginx' configuration says.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use mediagate::clock::Clock;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::program::{Running, free_port, nginx};
use crate::support::{Gate, Setup, conf};

const SECRET: &str = "01Hy5SQceo0xlVb8";

/// The MAC as nginx' documentation makes it.
fn md5(text: &str) -> String {
    let script = "openssl md5 -binary | openssl base64 | tr +/ -_ | tr -d =";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

struct Both {
    gate: Gate,
    nginx: SocketAddr,
    _running: Running,
    _dir: TempDir,
}

impl Both {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("root/sec/a b");
        fs::create_dir_all(&root).unwrap();
        fs::write(dir.path().join("root/sec/report.pdf"), "report").unwrap();
        fs::write(root.join("ü.pdf"), "umlaut").unwrap();
        let (guarded, open) = (free_port(), free_port());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let own = dir.path().display();
        let http = format!(
            "access_log off;\n\
               server {{ listen 127.0.0.1:{open}; root {own}/root; }}\n\
               server {{ listen 127.0.0.1:{guarded}; root {own}/root;\n\
                 location /sec/ {{\n\
                   secure_link $arg_md5,$arg_expires;\n\
                   secure_link_md5 \"$secure_link_expires$uri$remote_addr {SECRET}\";\n\
                   if ($secure_link = \"\") {{ return 403; }}\n\
                   if ($secure_link = \"0\") {{ return 410; }}\n\
                 }}\n\
               }}"
        );
        let running = nginx(dir.path(), &http, &[address(guarded), address(open)]);
        let route = "[[route]]\nname = \"files\"\npath = \"/sec\"\norigin = \"files\"\n\
             [route.scheme.mac]\npreset = \"nginx_secure_link\"\n\
             keys = [{ name = \"one\", secret = { file = \"secure_link.key\" } }]\n";
        let now = Clock::system().now().secs();
        let gate = Setup::new(conf::http(address(open)) + route)
            .file("secure_link.key", SECRET)
            .now(now)
            .start();
        Self {
            gate,
            nginx: address(guarded),
            _running: running,
            _dir: dir,
        }
    }
}

#[test]
fn a_live_nginx_decides_as_the_gate_does() {
    let both = Both::start();
    let now = Clock::system().now().secs();
    // Far from the present on both sides, so that a second between the two questions is no matter.
    let (later, past) = (now + 3600, now - 3600);
    let link = |uri: &str, sent: &str, expires: i64| {
        let mac = md5(&format!("{expires}{uri}127.0.0.1 {SECRET}"));
        format!("{sent}?md5={mac}&expires={expires}")
    };
    let good = link("/sec/report.pdf", "/sec/report.pdf", later);
    let mac = good
        .split("md5=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap()
        .to_owned();
    let mut links = vec![
        good.clone(),
        link("/sec/report.pdf", "/sec/report.pdf", past),
        link("/sec/a b/ü.pdf", "/sec/a%20b/%C3%BC.pdf", later),
        link("/sec/a b/ü.pdf", "/sec/a%20b/%c3%bc.pdf", later),
        // What nginx resolves before it signs.
        link("/sec/report.pdf", "/sec/x/../report.pdf", later),
        link("/sec/report.pdf", "/sec//report.pdf", later),
        link("/sec/report.pdf", "/sec/./report.pdf", later),
        link("/sec/report.pdf", "/sec/%72eport.pdf", later),
        // Another file, another address, another secret.
        link("/sec/other.pdf", "/sec/report.pdf", later),
        format!(
            "/sec/report.pdf?md5={}&expires={later}",
            md5(&format!("{later}/sec/report.pdf10.0.0.1 {SECRET}"))
        ),
        format!(
            "/sec/report.pdf?md5={}&expires={later}",
            md5(&format!("{later}/sec/report.pdf127.0.0.1 other"))
        ),
        // Nothing, and half of it.
        "/sec/report.pdf".to_owned(),
        format!("/sec/report.pdf?md5={mac}"),
        format!("/sec/report.pdf?expires={later}"),
        format!("/sec/report.pdf?md5=&expires={later}"),
        // Other parameters, another order, another case, twice.
        good.replace("?md5", "?a=b&md5"),
        format!("{good}&a=b"),
        format!("/sec/report.pdf?expires={later}&md5={mac}"),
        format!("/sec/report.pdf?MD5={mac}&Expires={later}"),
        format!("{good}&md5=other"),
        good.replace("?md5", "?md5=other&md5"),
        format!("{good}&expires={past}"),
        // Times that are none, or another.
        format!("/sec/report.pdf?md5={mac}&expires={}", later + 1),
        format!("/sec/report.pdf?md5={mac}&expires=x{later}"),
        format!("/sec/report.pdf?md5={mac}&expires=-{later}"),
        format!("/sec/report.pdf?md5={mac}&expires="),
        // The MAC, longer and shorter.
        format!("/sec/report.pdf?md5={mac}A&expires={later}"),
        format!("/sec/report.pdf?md5={}&expires={later}", &mac[..mac.len() - 1]),
        format!("/sec/report.pdf?md5={mac}==&expires={later}"),
        format!("/sec/report.pdf?md5={}&expires={later}", mac.to_uppercase()),
    ];
    // Each letter of the MAC changed, in bits that count.
    for at in 0..mac.len() {
        let letter = if &mac[at..=at] == "A" { "Q" } else { "A" };
        let mut changed = mac.clone();
        changed.replace_range(at..=at, letter);
        links.push(format!("/sec/report.pdf?md5={changed}&expires={later}"));
    }
    let mut counts = [0; 3];
    let mut faults = Vec::new();
    for link in &links {
        let ours = both.gate.get(link, &[]).status;
        let theirs = Client::connect(both.nginx).any_header().get(link, &[]).status;
        match theirs {
            200 => counts[0] += 1,
            403 => counts[1] += 1,
            410 => counts[2] += 1,
            other => panic!("{link}: nginx says {other}"),
        }
        if ours != theirs {
            faults.push(format!("{link}: nginx {theirs}, the gate {ours}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
