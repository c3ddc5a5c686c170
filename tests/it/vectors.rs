//! The published token vectors through the real gate, byte for byte over raw sockets: first cold, then again in the
//! other order, when the verdicts may come from the cache of verified tokens.

use serde_json::Value;

use crate::support::{End, Gate, Origin, Setup, conf};

const VECTORS: &str = include_str!("../vectors/jwt_query.json");

struct Profile<'v> {
    name: &'static str,
    path: &'static str,
    carriers: &'static str,
    more: &'static str,
    vectors: &'v Value,
}

impl Profile<'_> {
    fn start(&self, now: i64) -> (Origin, Gate) {
        let origin = Origin::start();
        origin.file(
            "/downloads/report-2025.pdf",
            crate::support::origin::pattern(1000),
        );
        let profile = &self.vectors["profiles"][self.name];
        let text = |name: &str| profile[name].as_str().expect("a text").to_owned();
        let leeway = profile["leeway_seconds"].as_i64().expect("a number");
        let more = format!("scope = \"whole\"\nleeway = \"{leeway}s\"\n{}", self.more);
        let route = conf::route_carried(self.name, self.path, self.carriers, &more)
            .replace(crate::support::mint::ISSUER, &text("issuer"))
            .replace(
                "audience = \"media\"",
                &format!("audience = \"{}\"", text("audience")),
            );
        let gate = Setup::new(conf::http(origin.address()) + &route)
            .file("media.jwks.json", self.vectors["keys"]["jwks"].to_string())
            .behind_a_proxy()
            .now(now)
            .start();
        (origin, gate)
    }

    fn run(&self) {
        let cases: Vec<&Value> = self.vectors["cases"]
            .as_array()
            .expect("cases")
            .iter()
            .filter(|case| case["profile"] == self.name)
            .collect();
        assert!(!cases.is_empty());
        let now = cases[0]["now"].as_i64().expect("now");
        assert!(cases.iter().all(|case| case["now"] == now), "one clock for all");
        let (origin, gate) = self.start(now);
        let mut faults = Vec::new();
        for (round, case) in cases
            .iter()
            .map(|case| ("cold", *case))
            .chain(cases.iter().rev().map(|case| ("warm", *case)))
        {
            if let Some(fault) = judge(&origin, &gate, case) {
                faults.push(format!("{} ({round}, {}): {fault}", case["name"], case["reason"]));
            }
        }
        assert!(
            faults.is_empty(),
            "{} of {} fail:\n{}",
            faults.len(),
            2 * cases.len(),
            faults.join("\n")
        );
    }
}

fn judge(origin: &Origin, gate: &Gate, case: &Value) -> Option<String> {
    let text = |name: &str| case[name].as_str().expect("a text");
    let target = text("url")
        .strip_prefix("https://media.example.com")
        .expect("the public host");
    let mut headers: Vec<(&str, &str)> = case["headers"]
        .as_object()
        .expect("headers")
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("a text")))
        .collect();
    let ranged = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("range"));
    headers.push(("X-Forwarded-For", text("client_ip")));
    let before = origin.seen().len();
    let answer = gate.exchange(text("method"), target, &headers);
    let contacted = origin.seen().len() - before;
    let expected = match text("expect") {
        "allow" => answer.status == if ranged { 206 } else { 200 } && contacted == 1,
        "deny" => (400..500).contains(&answer.status) && contacted == 0,
        other => panic!("expect: {other}"),
    };
    (!expected || answer.end != End::Complete).then(|| {
        format!(
            "expected {}, got {} with {contacted} at the origin",
            text("expect"),
            answer.status
        )
    })
}

fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("vectors")
}

#[test]
fn all_cases_are_of_a_profile_that_is_run() {
    let vectors = vectors();
    let cases = vectors["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 125);
    assert!(cases.iter().all(|case| {
        ["default", "path", "bearer"]
            .iter()
            .any(|name| case["profile"] == *name)
    }));
}

#[test]
fn query_tokens_are_judged_as_the_vectors_say() {
    let vectors = vectors();
    let carriers = "{ query = \"t\" }";
    Profile {
        name: "default",
        path: "/downloads",
        carriers,
        more: "",
        vectors: &vectors,
    }
    .run();
}

#[test]
fn path_tokens_are_judged_as_the_vectors_say() {
    let vectors = vectors();
    let carriers = "{ path = \"/media/{id}/download/{token}\" }";
    Profile {
        name: "path",
        path: "/media",
        carriers,
        more: "to = \"/files/{id}\"",
        vectors: &vectors,
    }
    .run();
}

#[test]
fn bearers_are_judged_as_the_vectors_say() {
    let vectors = vectors();
    Profile {
        name: "bearer",
        path: "/downloads",
        carriers: "{ bearer = {} }",
        more: "",
        vectors: &vectors,
    }
    .run();
}
