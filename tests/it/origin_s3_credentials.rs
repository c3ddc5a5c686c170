//! Credentials that the surroundings of the process give: found in their order, loaded in the background, again before they
//! end, and never in the way of a request.

use std::time::Duration;

use serde_json::json;

use crate::support::s3::{self, at};
use crate::support::{Gate, NOW, Origin, Script, Setup, Token, wait};

/// How often the clock is looked at.
const OFTEN: Duration = Duration::from_millis(20);

fn chain(origin: &Origin) -> Setup {
    chain_named("files", origin)
}

/// With a name that its lines in the log hold.
fn chain_named(name: &str, origin: &Origin) -> Setup {
    let toml = s3::origin_by(origin.address(), "\"chain\"", "");
    s3::setup_named(name, &toml)
        .refresh(OFTEN)
        .variable("AWS_EC2_METADATA_DISABLED", "true")
}

/// 2026-01-01T00:00:00Z and so many minutes.
fn minutes(count: u32) -> String {
    format!("2026-01-01T{:02}:{:02}:00Z", count / 60, count % 60)
}

/// What a metadata service says.
fn document(number: u32, expires: &str) -> Script {
    let text = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "Message": "",
        "AccessKeyId": format!("ASIAROUND{number}"), "SecretAccessKey": format!("hidden-secret-{number}"),
        "Token": format!("hidden-token/+{number}=="), "Expiration": expires,
    });
    Script::ok(&[("Content-Type", "application/json")], text.to_string())
}

/// The number of the credentials that a request was signed with, once the gate has some.
fn signed_with(gate: &Gate, origin: &Origin, token: &Token) -> u32 {
    gate.get(&token.at("/f"), &[]).expect(200);
    let seen = origin.last();
    let token = seen.header("x-amz-security-token").expect("a token");
    let number = token
        .trim_start_matches("hidden-token/+")
        .trim_end_matches("==")
        .parse()
        .expect("a number");
    s3::assert_signed(
        &seen,
        &format!("ASIAROUND{number}"),
        &format!("hidden-secret-{number}"),
    );
    number
}

fn ready(gate: &Gate) {
    wait::until_true("credentials are there", || {
        gate.admin_get("/readyz").status == 200
    });
}

#[test]
fn keys_of_the_environment_sign() {
    let origin = Origin::start();
    let gate = chain(&origin)
        .variable("AWS_ACCESS_KEY_ID", "AKIAENV")
        .variable("AWS_SECRET_ACCESS_KEY", "hidden-env")
        .start();
    ready(&gate);
    gate.get(&Token::whole().at("/f"), &[]).expect(200);
    let seen = origin.only();
    assert_eq!(seen.target, at("/f"));
    assert_eq!(seen.header("x-amz-security-token"), None);
    s3::assert_signed(&seen, "AKIAENV", "hidden-env");
}

#[test]
fn keys_of_a_shared_profile_sign_with_their_token() {
    let origin = Origin::start();
    let setup = chain(&origin).file(
        "credentials",
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = x\n[media]\naws_access_key_id = \
         AKIAPROFILE\naws_secret_access_key = hidden-profile\naws_session_token = hidden-session\n",
    );
    let file = setup.dir().join("credentials");
    let gate = setup
        .variable("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())
        .variable("AWS_PROFILE", "media")
        .start();
    ready(&gate);
    gate.get(&Token::whole().at("/f"), &[]).expect(200);
    let seen = origin.only();
    assert_eq!(seen.header("x-amz-security-token"), Some("hidden-session"));
    s3::assert_signed(&seen, "AKIAPROFILE", "hidden-profile");
}

#[test]
fn a_container_s_credentials_are_loaded_again_before_they_end_and_no_request_waits() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    for number in 1..=3 {
        metadata.on("/creds", document(number, &minutes(60 * number)));
    }
    let gate = chain(&origin)
        .container(metadata.address())
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hidden-bearer")
        .start();
    ready(&gate);
    let token = Token::whole().expires(NOW + 100_000);
    assert_eq!(metadata.only().header("authorization"), Some("hidden-bearer"));
    assert_eq!(signed_with(&gate, &origin, &token), 1);
    // They are loaded ten minutes before they end, give or take one.
    gate.advance(48 * 60 + 50);
    assert_eq!(signed_with(&gate, &origin, &token), 1);
    std::thread::sleep(10 * OFTEN);
    assert_eq!(metadata.seen().len(), 1);
    gate.advance(2 * 60 + 20);
    metadata.wait_seen(2);
    wait::until_true("the second are in use", || {
        signed_with(&gate, &origin, &token) == 2
    });
    assert_eq!(metadata.seen().len(), 2);
}

#[test]
fn what_has_ended_signs_nothing_and_the_last_good_stay_until_then() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    metadata.on("/creds", document(1, &minutes(60)));
    metadata.on(
        "/creds",
        Script::answer("500 Internal Server Error", &[], "hidden-word"),
    );
    let gate = chain_named("ended-bucket", &origin)
        .container(metadata.address())
        .start();
    ready(&gate);
    let token = Token::whole().expires(NOW + 100_000);
    gate.advance(55 * 60);
    metadata.wait_seen(2);
    assert_eq!(
        signed_with(&gate, &origin, &token),
        1,
        "they are good for five minutes"
    );
    gate.advance(5 * 60);
    let count = origin.seen().len();
    let answer = gate
        .get(&token.at("/f"), &[])
        .refused(503, "credentials_unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(origin.seen().len(), count, "nothing was asked");
    metadata.on("/creds", document(2, &minutes(180)));
    wait::until_true("the second are in use", || {
        gate.get(&token.at("/f"), &[]).status == 200
    });
    assert_eq!(signed_with(&gate, &origin, &token), 2);
    let of_this = "origin=\"ended-bucket\"";
    s3::logged(&[of_this, "the container gives none"]);
    s3::logged(&[of_this, "the credentials have ended"]);
    s3::logged(&[of_this, "credentials were loaded: the container"]);
    s3::logged(&[
        of_this,
        "credentials come from the container, and from there alone",
    ]);
    let log = crate::support::gate::operational_log();
    for hidden in ["hidden-word", "hidden-secret", "hidden-token", "ASIAROUND"] {
        assert!(!log.contains(hidden), "{hidden} was logged");
    }
}

#[test]
fn an_instance_s_credentials_are_asked_for_with_a_session_token() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    let list = "/latest/meta-data/iam/security-credentials/";
    metadata.on("/latest/api/token", Script::ok(&[], "hidden-imds"));
    metadata.on(list, Script::ok(&[], "media-role"));
    metadata.on(&format!("{list}media-role"), document(7, &minutes(60)));
    let gate = chain(&origin)
        .variable("AWS_EC2_METADATA_DISABLED", "false")
        .variable(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            &format!("http://{}", metadata.address()),
        )
        .start();
    ready(&gate);
    assert_eq!(signed_with(&gate, &origin, &Token::whole()), 7);
    let seen = metadata.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str()),
        ("PUT", "/latest/api/token")
    );
    assert_eq!(
        seen[0].header("x-aws-ec2-metadata-token-ttl-seconds"),
        Some("21600")
    );
    for seen in &seen[1..] {
        assert_eq!(seen.header("x-aws-ec2-metadata-token"), Some("hidden-imds"));
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn without_credentials_requests_are_503_and_the_server_is_not_ready() {
    let origin = Origin::start();
    let gate = chain(&origin).start();
    let answer = gate
        .get(&Token::whole().at("/f"), &[])
        .refused(503, "credentials_unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let ready = gate.admin_get("/readyz").expect(503).text();
    assert!(
        ready.contains("credentials of origin \"files\" were never loaded"),
        "{ready}"
    );
    origin.untouched();
}

#[test]
fn one_that_is_there_and_fails_is_not_replaced_by_the_next() {
    let role = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/media");
    for (name, variables, said) in [
        (
            "web-identity-fails",
            &[role, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/absent/token")][..],
            "the web identity gives none",
        ),
        ("role-without-token", &[role], "the web identity gives none"),
        (
            "key-without-secret",
            &[("AWS_ACCESS_KEY_ID", "AKIAHALF")],
            "the environment gives none",
        ),
        (
            "profile-without-file",
            &[("AWS_PROFILE", "media")],
            "the shared profile gives none",
        ),
    ] {
        let (origin, metadata) = (Origin::start(), Origin::start());
        metadata.on("/creds", document(1, &minutes(60)));
        let mut setup = chain_named(name, &origin).container(metadata.address());
        for (name, value) in variables {
            setup = setup.variable(name, value);
        }
        let gate = setup.start();
        s3::logged(&[&format!("origin=\"{name}\""), said]);
        gate.get(&Token::whole().at("/f"), &[])
            .refused(503, "credentials_unavailable");
        metadata.untouched();
    }
}

#[test]
fn a_profile_that_is_caught_in_the_middle_of_a_rewrite_is_not_swapped_for_another_place() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    metadata.on("/creds", document(1, &minutes(600)));
    let profile =
        |id: &str| format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = hidden-profile\n");
    let name = "rewritten-profile";
    let setup = chain_named(name, &origin).file("credentials", profile("AKIABEFORE"));
    let file = setup.dir().join("credentials");
    let gate = setup
        .variable("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())
        .container(metadata.address())
        .start();
    ready(&gate);
    let token = Token::whole().expires(NOW + 100_000);
    let signed_with = || {
        gate.get(&token.at("/f"), &[]).expect(200);
        let seen = origin.last();
        let id = seen.header("authorization").unwrap().split(['=', '/']).nth(1);
        id.unwrap().to_owned()
    };
    assert_eq!(signed_with(), "AKIABEFORE");
    gate.file("credentials", "[default]\naws_access_key_id = AKIAHALF\n");
    gate.advance(6 * 60);
    s3::logged(&[
        &format!("origin=\"{name}\""),
        "the shared credentials file gives none",
    ]);
    assert_eq!(signed_with(), "AKIABEFORE");
    std::fs::remove_file(&file).unwrap();
    std::thread::sleep(10 * OFTEN);
    assert_eq!(signed_with(), "AKIABEFORE");
    gate.file("credentials", profile("AKIAAFTER"));
    wait::until_true("the new ones are in use", || signed_with() == "AKIAAFTER");
    metadata.untouched();
}

#[test]
fn a_head_that_is_refused_without_a_word_asks_for_fresh_credentials() {
    for (status, ours) in [("400 Bad Request", 502), ("403 Forbidden", 404)] {
        let (origin, metadata) = (Origin::start(), Origin::start());
        metadata.on("/creds", document(1, &minutes(600)));
        metadata.on("/creds", document(2, &minutes(600)));
        origin.on(&at("/f"), Script::new().head(status, &[]));
        origin.on(&at("/f"), Script::ok(&[], "now"));
        let gate = chain(&origin).container(metadata.address()).start();
        ready(&gate);
        gate.exchange("HEAD", &Token::whole().at("/f"), &[]).expect(ours);
        metadata.wait_seen(2);
        wait::until_true("the second are in use", || {
            signed_with(&gate, &origin, &Token::whole()) == 2
        });
    }
}

#[test]
fn the_same_credentials_again_are_asked_for_less_and_less_often() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    metadata.on("/creds", document(1, &minutes(600)));
    origin.on(&at("/f"), s3::error("403 Forbidden", "InvalidAccessKeyId"));
    let name = "same-again";
    let gate = chain_named(name, &origin).container(metadata.address()).start();
    ready(&gate);
    let began = tokio::time::Instant::now();
    while began.elapsed() < 40 * OFTEN || metadata.seen().len() < 3 {
        gate.get(&Token::whole().at("/f"), &[])
            .refused(502, "origin_invalid");
    }
    // The pauses are 1, 1, 2, 4, 8, 16, 32 looks.
    let looks = (began.elapsed().as_millis() / OFTEN.as_millis()) as u32;
    let most = 3 + looks.ilog2() as usize + 1;
    let loads = metadata.seen().len();
    assert!((3..=most).contains(&loads), "{loads} loads in {looks} looks");
    s3::logged(&[&format!("origin=\"{name}\""), "gives the same again"]);
}

#[test]
fn credentials_that_s3_no_longer_takes_are_loaded_anew_at_once() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    metadata.on("/creds", document(1, &minutes(600)));
    metadata.on("/creds", document(2, &minutes(600)));
    origin.on(&at("/f"), s3::error("400 Bad Request", "ExpiredToken"));
    origin.on(&at("/f"), Script::ok(&[], "now"));
    let gate = chain(&origin).container(metadata.address()).start();
    ready(&gate);
    gate.get(&Token::whole().at("/f"), &[])
        .refused(502, "origin_invalid");
    metadata.wait_seen(2);
    wait::until_true("the second are in use", || {
        signed_with(&gate, &origin, &Token::whole()) == 2
    });
}

#[test]
fn a_reload_leaves_loaded_credentials_alone() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    metadata.on("/creds", document(1, &minutes(600)));
    metadata.on("/creds", Script::new().stall());
    let gate = chain(&origin).container(metadata.address()).start();
    ready(&gate);
    gate.edit(
        "origin = \"files\"",
        "origin = \"files\"\ndisposition = \"inline\"",
    );
    gate.reload();
    assert_eq!(signed_with(&gate, &origin, &Token::whole()), 1);
    // What a reload starts asks at once.
    std::thread::sleep(20 * OFTEN);
    assert_eq!(metadata.seen().len(), 1);

    // A changed table loads its own, and goes on with these until it has.
    gate.edit("region = ", "forbidden = 502\nregion = ");
    gate.reload();
    metadata.wait_seen(2);
    assert_eq!(signed_with(&gate, &origin, &Token::whole()), 1);
    assert_eq!(metadata.seen().len(), 2);
}

#[test]
fn p22_no_secret_of_a_bucket_is_in_any_sink() {
    let (origin, metadata) = (Origin::start(), Origin::start());
    metadata.on("/creds", document(901, &minutes(60)));
    metadata.on("/creds", Script::ok(&[], "hidden-garbage-901"));
    let gate = chain(&origin)
        .container(metadata.address())
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hidden-bearer-901")
        .start();
    ready(&gate);
    let refusal = |status, code| {
        let words = "<Error><AWSAccessKeyId>ASIAROUND901</AWSAccessKeyId><StringToSign>hidden-token/+901==</StringToSign>";
        Script::answer(status, &[], format!("{words}<Code>{code}</Code></Error>"))
    };
    for (path, script) in [
        ("/denied", refusal("403 Forbidden", "AccessDenied")),
        ("/wrong", refusal("403 Forbidden", "SignatureDoesNotMatch")),
        ("/late", refusal("403 Forbidden", "RequestTimeTooSkewed")),
        ("/moved", refusal("301 Moved", "PermanentRedirect")),
        ("/busy", refusal("503 Slow Down", "SlowDown")),
        ("/garbage", Script::new().send("no http\r\n\r\n").close()),
        (
            "/short",
            Script::new().head("200 OK", &[("Content-Length", "10")]).close(),
        ),
    ] {
        origin.on(&at(path), script);
    }
    let token = Token::whole().expires(NOW + 100_000);
    let mut sinks = Vec::new();
    for path in [
        "/f", "/denied", "/wrong", "/late", "/moved", "/busy", "/garbage", "/short",
    ] {
        sinks.push(String::from_utf8_lossy(&gate.get(&token.at(path), &[]).raw).into_owned());
    }
    gate.advance(60 * 60);
    metadata.wait_seen(2);
    sinks.push(
        gate.get(&token.at("/f"), &[])
            .refused(503, "credentials_unavailable")
            .text(),
    );
    sinks.push(gate.access_lines(9).join("\n"));
    sinks.push(gate.metrics());
    sinks.push(gate.admin_get("/readyz").text());
    sinks.push(crate::support::gate::operational_log());
    let mut secrets: Vec<String> = [
        "ASIAROUND901",
        "hidden-secret-901",
        "hidden-token/+901",
        "hidden-bearer-901",
    ]
    .map(str::to_owned)
    .into();
    secrets.push("hidden-garbage-901".into());
    for seen in origin.seen() {
        let signature = seen.header("authorization").unwrap().rsplit('=').next().unwrap();
        secrets.push(signature.to_owned());
    }
    for secret in &secrets {
        for sink in &sinks {
            assert!(!sink.contains(secret.as_str()), "{secret}: {sink}");
        }
    }
}
