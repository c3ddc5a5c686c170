//! A flood of requests for tokens beside the gate (W6 with the issuer at work). The gate answers a fixed number of requests a
//! second: alone, beside a flood at another process of the same machine, and beside the same flood at its own issuer. The
//! second tells what a busy machine costs; the third over the second is what the issuer itself costs the gate's worker.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::support::{Kept, Served, at, micros, run as program};
use super::{Item, Options, Place, flood};

/// Requests a second, over so many connections.
const RATE: u32 = 4000;
const CONNECTIONS: u32 = 64;
/// Of the flood: enough to keep its two signers busy, and few enough to leave the machine to the gate.
const FLOOD: usize = 8;

/// What the gate's clients saw.
struct Seen {
    per_second: f64,
    p50: f64,
    p99: f64,
}

/// Measures each item, and prints a line for it.
pub(super) fn run(options: &Options, runtime: &Runtime, items: &mut dyn Iterator<Item = &Item>) {
    println!(
        "the gate at {RATE} requests a second: alone; beside a flood elsewhere; beside a flood at its own issuer\n\
         {:<26} {:>23} {:>23} {:>23}   own / elsewhere",
        "", "req/s  p50 ms  p99 ms", "req/s  p50 ms  p99 ms", "req/s  p50 ms  p99 ms"
    );
    for item in items {
        let (own, elsewhere) = (Place::new(item), Place::new(item));
        let link = program(
            &own.file,
            &["token", "mint", "--path", "/a.mp4", "--sub", "42"],
            "",
        );
        let path = link.strip_prefix(&format!("http://{}", own.gate)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", own.gate);
        let _served = Served::start(&own.file, own.gate);
        let _other = Served::start(&elsewhere.file, elsewhere.issuer);
        let mut rounds = [const { Vec::new() }; 3];
        for round in 0..options.rounds {
            // Each round begins with another, so that none always comes after the same one.
            for turn in 0..3 {
                let at = (round + turn) % 3;
                let flooded = [None, Some(&elsewhere), Some(&own)][at];
                let seen = runtime.block_on(measure(&own, request.as_bytes(), item, flooded, options.time));
                rounds[at].push(seen);
            }
        }
        let [alone, elsewhere, own] = rounds.map(median);
        let show = |seen: &Seen| {
            let text = format!("{:.0}  {:>6.2}  {:>6.2}", seen.per_second, seen.p50, seen.p99);
            format!("{text:>23}")
        };
        println!(
            "{:<26} {} {} {}   {:.2} x req/s, {:.2} x p50, {:.2} x p99",
            item.name,
            show(&alone),
            show(&elsewhere),
            show(&own),
            own.per_second / elsewhere.per_second,
            own.p50 / elsewhere.p50,
            own.p99 / elsewhere.p99
        );
    }
}

/// The median of each figure.
fn median(rounds: Vec<Seen>) -> Seen {
    let of = |figure: fn(&Seen) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Seen {
        per_second: of(|seen| seen.per_second),
        p50: of(|seen| seen.p50),
        p99: of(|seen| seen.p99),
    }
}

async fn measure(gate: &Place, request: &[u8], item: &Item, flooded: Option<&Place>, time: Duration) -> Seen {
    let tokens = flooded.map(|place| {
        let (address, request, status) = (place.issuer, place.request.clone(), item.status);
        // On a thread of its own, so that it holds up none of the gate's clients.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(flood(address, &request, status, FLOOD, time))
                .len()
        })
    });
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        connections.push((number, Kept::connect(gate.gate).await));
    }
    let start = Instant::now();
    let clients: Vec<_> = connections
        .into_iter()
        .map(|(number, kept)| tokio::spawn(client(kept, request.to_vec(), start, number, time)))
        .collect();
    let mut waits = Vec::new();
    for client in clients {
        waits.append(&mut client.await.unwrap());
    }
    let per_second = waits.len() as f64 / start.elapsed().as_secs_f64();
    if let Some(tokens) = tokens {
        assert!(tokens.join().unwrap() > 0, "there was no flood");
    }
    waits.sort_unstable();
    Seen {
        per_second,
        p50: at(&waits, 0.5),
        p99: at(&waits, 0.99),
    }
}

/// One of the connections: a request at its appointed times. A wait counts from that time, also where the one before it took
/// so long that it began late: who stands in a queue waits, too.
async fn client(mut kept: Kept, request: Vec<u8>, start: Instant, number: u32, time: Duration) -> Vec<u32> {
    let step = Duration::from_secs(1) * CONNECTIONS / RATE;
    let mut due = start + step * number / CONNECTIONS;
    let mut waits = Vec::new();
    while due < start + time {
        tokio::time::sleep_until(due.into()).await;
        // Timers ring at whole milliseconds: what is late for that alone is not the gate's.
        let begun = Instant::now();
        let from = if begun - due < Duration::from_millis(2) {
            begun
        } else {
            due
        };
        assert_eq!(kept.ask(&request).await, 200);
        waits.push(micros(from.elapsed()));
        due += step;
    }
    waits
}
