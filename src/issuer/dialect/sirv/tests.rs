//! What requests are read, how URLs are written, and what is told of which mistake.

use http::Method;

use super::*;

fn request(body: &str) -> Request<Bytes> {
    let request = Request::builder().method(Method::POST).uri(FILES_PATH);
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn read(body: &str) -> Result<(IssueRequest, Wish), IssueRefusal> {
    parse(&request(body))
}

/// The beginnings of the messages.
fn faults(body: &str) -> Vec<String> {
    let Err(IssueRefusal::Unprocessable(violations)) = read(body) else {
        panic!("not refused for its members: {body}");
    };
    violations
        .iter()
        .map(|violation| violation.property.to_string())
        .collect()
}

#[test]
fn s4_s21_a_url_is_written_in_one_way() {
    let url = |body: &str| read(body).unwrap().1.url("https://m.example", "T").unwrap();
    for (body, expected) in [
        (
            r#"{"filename":"/a.jpg","expiresIn":1}"#,
            "https://m.example/a.jpg?jwt=T",
        ),
        (r#"{"filename":"/","expiresIn":1}"#, "https://m.example/?jwt=T"),
        (
            r#"{"filename":"/REST API Examples/ä%?#.jpg","expiresIn":1}"#,
            "https://m.example/REST%20API%20Examples/%C3%A4%25%3F%23.jpg?jwt=T",
        ),
        (
            r#"{"filename":"/a.jpg","expiresIn":1,"insecureParams":{"w":500,"text":"a b&c=ü/#","on":true,"f":1.5,"a b":"-._~"}}"#,
            "https://m.example/a.jpg?w=500&text=a%20b%26c%3D%C3%BC%2F%23&on=true&f=1.5&a%20b=-._~&jwt=T",
        ),
        (
            r#"{"filename":"/a.jpg","expiresIn":1,"insecureParams":{}}"#,
            "https://m.example/a.jpg?jwt=T",
        ),
    ] {
        assert_eq!(url(body), expected, "{body}");
    }
    let long = format!(
        r#"{{"filename":"/a.jpg","expiresIn":1,"insecureParams":{{"x":"{}"}}}}"#,
        "x".repeat(8000)
    );
    assert!(read(&long).unwrap().1.url("https://m.example", "T").is_err());
}

#[test]
fn s3_secure_parameters_keep_their_types() {
    let (asked, _) =
        read(r#"{"filename":"/a.jpg","expiresIn":1,"secureParams":{"w":300,"t":"300","b":false}}"#).unwrap();
    let expected: Parameters = Box::new([
        ("w".into(), crate::token::Parameter::Number(300.into())),
        ("t".into(), "300".into()),
        ("b".into(), crate::token::Parameter::Truth(false)),
    ]);
    assert_eq!(asked.parameters, expected);
}

#[test]
fn s5_each_member_is_judged_and_all_mistakes_are_told() {
    assert_eq!(faults("{}"), ["filename", "expiresIn"]);
    let with = |member: &str| format!(r#"{{"filename":"/a.jpg","expiresIn":60,{member}}}"#);
    for (member, fault) in [
        (r#""alias":1"#, "alias"),
        (r#""alias":"""#, "alias"),
        (r#""key":1"#, "key"),
        (r#""key":"""#, "key"),
        (r#""secureParams":[]"#, "secureParams"),
        (r#""secureParams":"w=1""#, "secureParams"),
        (r#""secureParams":null"#, "secureParams"),
        (r#""secureParams":{"w":null}"#, "secureParams"),
        (r#""secureParams":{"w":{"x":1}}"#, "secureParams"),
        (r#""secureParams":{"w":[1]}"#, "secureParams"),
        (r#""secureParams":{"":1}"#, "secureParams"),
        (r#""secureParams":{"jwt":"x"}"#, "secureParams"),
        (r#""insecureParams":{"jwt":"x"}"#, "insecureParams"),
        (r#""insecureParams":{"a\r\nb":"x"}"#, "insecureParams"),
        (r#""insecureParams":{"a":"x\r\nSet-Cookie: y"}"#, "insecureParams"),
        (r#""insecureParams":[1]"#, "insecureParams"),
        (r#""expiresin":60"#, ""),
        (r#""token":"x""#, ""),
    ] {
        assert_eq!(faults(&with(member)), [fault], "{member}");
    }
    for filename in [
        r#""""#,
        r#""a.jpg""#,
        r#""//a""#,
        r#""/a//b""#,
        r#""/../a""#,
        r#""/a/..""#,
        r#""/a\\b""#,
        r#""/a\u0000b""#,
        r#""/a\nb""#,
        r#""/a%2fb""#,
        r#""/%2e%2e/a""#,
        "1",
        "null",
        r#"["/a"]"#,
    ] {
        assert_eq!(
            faults(&format!(r#"{{"filename":{filename},"expiresIn":1}}"#)),
            ["filename"],
            "{filename}"
        );
    }
    let of_length = |length| format!(r#"{{"filename":"/{}","expiresIn":1}}"#, "a".repeat(length));
    assert!(read(&of_length(1023)).is_ok());
    assert_eq!(faults(&of_length(1024)), ["filename"]);
    for expires in [
        r#""60""#,
        "0",
        "-1",
        "1.5",
        "1e400",
        "null",
        "true",
        "18446744073709551616",
        "9223372036854775808",
        "1e-3",
        "1e30",
    ] {
        let body = format!(r#"{{"filename":"/a","expiresIn":{expires}}}"#);
        assert!(read(&body).is_err(), "{expires}");
    }
}

#[test]
fn what_is_no_object_is_no_request() {
    for body in [
        "",
        "[]",
        "x",
        "{",
        r#"{"filename":"/a","filename":"/b","expiresIn":1}"#,
        r#"{"a":1}{"#,
    ] {
        assert!(matches!(read(body), Err(IssueRefusal::BadRequest(_))), "{body}");
    }
}

#[test]
fn a_client_says_who_it_is_in_two_texts() {
    let read = |body: &str| sign_in(&request(body));
    let good = read(r#"{"clientId":"a","clientSecret":"b"}"#).unwrap();
    assert_eq!((&*good.id, &**good.secret, good.lives), ("a", "b", BEARER_TTL));
    let lives = |seconds: &str| {
        let body = format!(r#"{{"clientId":"a","clientSecret":"b","expiresIn":{seconds}}}"#);
        read(&body).ok().map(|asked| asked.lives.as_secs())
    };
    assert_eq!((lives("5"), lives("604800")), (Some(5), Some(604_800)));
    for bad in ["4", "604801", "0", "-5", "5.5", "\"5\"", "null"] {
        assert_eq!(lives(bad), None, "{bad}");
    }
    for bad in [
        "{}",
        r#"{"clientId":"a"}"#,
        r#"{"clientId":"","clientSecret":"b"}"#,
        r#"{"clientId":1,"clientSecret":"b"}"#,
        r#"{"clientId":"a","clientSecret":"b","scope":[]}"#,
        r#"{"clientId":"a","clientId":"b","clientSecret":"b"}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
