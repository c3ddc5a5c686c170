use super::*;

fn place(url: &str) -> Address {
    Address::parse(&url.parse().unwrap(), None).unwrap()
}

#[test]
fn credentials_are_asked_of_near_places_and_over_tls_alone() {
    for (url, trusted) in [
        ("http://127.0.0.1:1234", true),
        ("http://localhost", true),
        ("http://[::1]", true),
        ("http://169.254.169.254", true),
        ("http://169.254.170.2", true),
        ("http://[fd00:ec2::254]", true),
        ("http://[fe80::1]", true),
        ("https://sts.eu-central-1.amazonaws.com", true),
        ("http://10.0.0.1", false),
        ("http://metadata.example.com", false),
        ("http://169.253.0.1", false),
        ("http://[fd00:ec3::254]", false),
    ] {
        assert_eq!(is_trustworthy(&place(url)), trusted, "{url}");
    }
}

#[tokio::test]
async fn a_place_on_another_network_is_not_asked() {
    let request = Request::get("http://192.0.2.1/creds").body(Bytes::new()).unwrap();
    let error = Sender.http_send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
}

#[test]
fn credentials_are_loaded_again_well_before_they_end() {
    let now = UnixTime::from_secs(1000);
    let again = |life| again_in(now, now.after(Duration::from_secs(life))).as_secs();
    assert_eq!(again(3600), 3000);
    assert_eq!(again(1200), 600);
    assert_eq!(again(900), 450, "short ones at half their life");
    assert_eq!(again(0), 0);
    assert_eq!(
        again_in(now, UnixTime::from_secs(0)),
        Duration::ZERO,
        "ended already"
    );
}

/// What the chain finds where the process was told this.
async fn found(variables: &[(&str, &str)]) -> Result<Found, ChainError> {
    let mut all: HashMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    all.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
    Chain::new(&Environment::Fixed(all), "r").load().await
}

#[tokio::test]
async fn what_can_not_stand_in_a_header_is_no_credential() {
    let keys = |id, token| {
        [
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", token),
        ]
    };
    assert!(found(&keys("A", "t")).await.is_ok());
    let empty = found(&keys("A", "")).await.unwrap();
    assert!(empty.credentials.session_token.is_none());
    for (id, token) in [
        ("A\r\nX: y", "t"),
        ("A", "t\r\nX: y"),
        ("A/B", "t"),
        ("A,B", "t"),
        ("A B", "t"),
    ] {
        let error = found(&keys(id, token)).await.err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("the environment gives some that can't be used"),
            "{id:?}"
        );
    }
}

#[tokio::test]
async fn each_place_says_in_general_words_why_it_gives_none() {
    assert!(matches!(found(&[]).await, Err(ChainError::Nowhere)));
    let absent = [
        ("AWS_ROLE_ARN", "hidden-arn"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/hidden-absent"),
    ];
    let container = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/hidden")];
    for (variables, said) in [
        (
            &absent[..],
            "the web identity gives none: what it was told is wrong",
        ),
        (
            &container[..],
            "the container gives none: it can't be asked, or answers with an error",
        ),
    ] {
        let error = found(variables).await.err().unwrap().to_string();
        assert_eq!(error, said);
    }
}

/// STS, which is asked over TLS alone, played in its place.
#[derive(Debug)]
struct Sts;

impl HttpSend for Sts {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        assert_eq!(request.uri(), "https://sts.eu-central-1.amazonaws.com/");
        assert_eq!(request.method(), "POST");
        let form = String::from_utf8(request.into_body().to_vec()).unwrap();
        for part in [
            "Action=AssumeRoleWithWebIdentity",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fmedia",
            "WebIdentityToken=the-token",
        ] {
            assert!(form.contains(part), "{form}");
        }
        Ok(Response::new(Bytes::from_static(
            b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
              <AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
              <SessionToken>session</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>\
              </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        )))
    }
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_credentials_of_its_role() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "the-token\n").unwrap();
    let all = HashMap::from([
        ("AWS_ROLE_ARN".to_owned(), "arn:aws:iam::1:role/media".to_owned()),
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
            file.path().to_str().unwrap().to_owned(),
        ),
    ]);
    let mut chain = Chain::new(&Environment::Fixed(all), "eu-central-1");
    chain.context = chain.context.with_http_send(Sts);
    let found = chain.load().await.unwrap();
    assert_eq!(&*found.credentials.access_key_id, "ASIAWEB");
    assert_eq!(found.credentials.secret_access_key.reveal(), b"secret");
    assert_eq!(found.credentials.session_token.unwrap().reveal(), b"session");
    assert_eq!(found.expires, UnixTime::parse_compact("20260101T010000Z"));
}
