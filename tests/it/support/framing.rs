//! The messages of `tests/framing/rows.txt`, what a client does with one, and what must hold of whatever comes of it.

use super::client::{HOST, head};
use super::origin::Seen;
use super::{Client, End, Response, Token, conf};

/// What must come of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// One request with this body, and the connection goes on.
    Once(Vec<u8>),
    /// One request with this body, and the connection ends.
    Last(Vec<u8>),
    /// Nothing reaches the origin.
    Refused,
    /// Nothing reaches the origin, and what follows is not answered.
    Nothing,
    /// Either.
    Safe,
}

/// One message of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) want: Want,
    text: &'static str,
}

/// The whole table.
pub(crate) fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut fields = line.splitn(3, " | ");
        let [name, want, text] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        let (word, body) = want.trim().split_once(' ').unwrap_or((want.trim(), ""));
        let want = match word {
            "once" => Want::Once(body.into()),
            "last" => Want::Last(body.into()),
            "refused" => Want::Refused,
            "nothing" => Want::Nothing,
            "safe" => Want::Safe,
            _ => panic!("no such result: {line}"),
        };
        Row {
            name: name.trim(),
            want,
            text,
        }
    };
    let lines = include_str!("../../framing/rows.txt").lines();
    let rows: Vec<Row> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(row)
        .collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == rows.len() && rows.len() >= 60);
    rows
}

impl Row {
    /// The bytes, for this target and this request that must never run.
    pub(crate) fn bytes(&self, target: &str, smuggled: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = self.text;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            match first {
                '\\' => {
                    let (byte, length) = match rest.as_bytes()[0] {
                        b'r' => (b'\r', 1),
                        b'n' => (b'\n', 1),
                        b't' => (b'\t', 1),
                        b'0' => (0, 1),
                        b'x' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
                        other => (other, 1),
                    };
                    bytes.push(byte);
                    rest = &rest[length..];
                }
                '{' => {
                    let (name, after) = rest.split_once('}').unwrap();
                    rest = after;
                    let text = match name {
                        "P" => format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n"),
                        "G" => format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n"),
                        "T" => target.to_owned(),
                        "H" => HOST.to_owned(),
                        "S" => smuggled.to_owned(),
                        "S#" => smuggled.len().to_string(),
                        "Sx" => format!("{:x}", smuggled.len()),
                        _ => {
                            let (letter, count) = name.split_once('*').unwrap();
                            letter.repeat(count.parse().unwrap())
                        }
                    };
                    bytes.extend_from_slice(text.as_bytes());
                }
                _ => bytes.extend_from_slice(first.to_string().as_bytes()),
            }
        }
        bytes
    }

    /// Whether a body is meant to come with it.
    pub(crate) fn writes(&self) -> bool {
        self.text.starts_with("{P}") || self.text.starts_with("POST")
    }
}

pub(crate) fn token() -> Token {
    Token::whole().claim("methods", serde_json::json!(["GET", "POST"]))
}

/// Two routes: `/get` reads, `/up` takes uploads too.
pub(crate) fn routes() -> String {
    conf::route_with("get", "/get", "")
        + &conf::route_with(
            "up",
            "/up",
            "methods = [\"GET\", \"POST\"]\nmax_upload = \"1MiB\"",
        )
}

/// The three targets of a row on a route, and what the origin sees of them.
pub(crate) struct Targets {
    pub(crate) row: String,
    pub(crate) probe: String,
    pub(crate) smuggled: String,
}

impl Targets {
    pub(crate) fn of(route: &str, name: &str) -> Self {
        let path = |what: &str| format!("/{route}/{what}/{name}");
        Self {
            row: path("row"),
            probe: path("probe"),
            smuggled: path("smuggled"),
        }
    }

    /// The request that must never run.
    pub(crate) fn hidden(&self) -> String {
        head("GET", &token().at(&self.smuggled), &[])
    }

    /// The message of a row, and behind it in the same write a request of its own.
    pub(crate) fn message(&self, row: &Row) -> Vec<u8> {
        let mut bytes = row.bytes(&token().at(&self.row), &self.hidden());
        let probe = head("GET", &token().at(&self.probe), &[("Connection", "close")]);
        bytes.extend_from_slice(probe.as_bytes());
        bytes
    }
}

/// All final answers on a connection, to its end.
pub(crate) fn answers(client: &mut Client, row: Option<&Row>) -> Vec<Response> {
    let mut answers = Vec::new();
    loop {
        let to_head = answers.is_empty() && row.is_some_and(|row| row.text.starts_with("HEAD"));
        let next = if to_head {
            client.try_read_head_answer()
        } else {
            client.try_read()
        };
        match next {
            Ok(answer) if answer.status / 100 == 1 => {}
            Ok(answer) => {
                // The answer to a CONNECT or a HEAD that went through would have no body; none of these does.
                let ended = answer.end != End::Complete;
                answers.push(answer);
                if ended {
                    return answers;
                }
            }
            Err(_) => return answers,
        }
    }
}

/// What must hold of every request that reaches an origin.
pub(crate) fn check_request(name: &str, seen: &Seen) {
    let end = seen
        .raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let text = std::str::from_utf8(&seen.raw[..end]).unwrap_or_else(|_| panic!("{name}: not text: {seen:?}"));
    let mut count = [0; 3];
    for (number, line) in text.split("\r\n").enumerate() {
        assert!(
            !line.contains(['\r', '\n', '\0']),
            "{name}: a bare line end: {seen:?}"
        );
        if number == 0 {
            assert_eq!(line.split(' ').count(), 3, "{name}: {seen:?}");
            continue;
        }
        let (field, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("{name}: {line:?}: {seen:?}"));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(
            !field.is_empty() && field.bytes().all(is_token),
            "{name}: {line:?}"
        );
        match field.to_ascii_lowercase().as_str() {
            "host" => count[0] += 1,
            "content-length" => {
                count[1] += 1;
                assert!(
                    value.trim().bytes().all(|byte| byte.is_ascii_digit()),
                    "{name}: {line:?}"
                );
            }
            "transfer-encoding" => {
                count[2] += 1;
                assert_eq!(value.trim(), "chunked", "{name}");
            }
            // Ours, not the client's: made where it said the one thing that there is to say.
            "expect" => {
                assert_eq!(value.trim(), "100-continue", "{name}");
                assert!(name.starts_with("expect_continue"), "{name}: {seen:?}");
            }
            ours @ ("upgrade" | "trailer" | "te" | "http2-settings" | "keep-alive" | "x-a" | "x-t") => {
                panic!("{name}: {ours} was passed on: {seen:?}")
            }
            _ => {}
        }
    }
    assert_eq!(count[0], 1, "{name}: one Host: {seen:?}");
    assert!(
        count[1] + count[2] <= 1,
        "{name}: two framings at the origin: {seen:?}"
    );
}

/// The body of a request, without its chunks. Fails on extensions and trailers.
pub(crate) fn body_of(name: &str, seen: &Seen) -> Vec<u8> {
    if seen.header("transfer-encoding").is_none() {
        return seen.body.clone();
    }
    let mut rest = &seen.body[..];
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("{name}: {seen:?}"));
        rest = &rest[end + 2..];
        if size == 0 {
            assert_eq!(rest, b"\r\n", "{name}: a trailer: {seen:?}");
            return body;
        }
        body.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n", "{name}: {seen:?}");
        rest = &rest[size + 2..];
    }
}

/// Who reads the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The gate.
    Gate,
    /// Another proxy, which may take the row's end for a request of its own; then it has to be one to everybody.
    Front,
}

/// What must hold whatever a row is: nobody gets what was meant for another, and nothing hidden runs.
pub(crate) fn check_safety(
    row: &Row,
    targets: &Targets,
    reader: Reader,
    answers: &[Response],
    seen: &[Seen],
) {
    let name = row.name;
    let Targets {
        row: own,
        probe,
        smuggled,
    } = targets;
    let order: &[&String] = match (reader, answers.len()) {
        (Reader::Front, 3) => &[own, smuggled, probe],
        _ => &[own, probe],
    };
    assert!(
        answers.len() <= order.len(),
        "{name}: three answers for two requests: {answers:?}"
    );
    for (answer, asked) in answers.iter().zip(order) {
        if let Some(said) = answer.text().strip_prefix("origin says ") {
            assert_eq!(
                said.split('?').next(),
                Some(asked.as_str()),
                "{name}: another's answer: {answers:?}"
            );
        }
    }
    for one in seen {
        assert!(
            order.contains(&&one.target),
            "{name}: a hidden request ran: {one:?}"
        );
        let again = seen.iter().filter(|other| other.target == one.target).count();
        assert_eq!(again, 1, "{name}: a request ran twice: {seen:?}");
        check_request(name, one);
    }
}
