use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;

use reqsign_core::FileRead;
use tempfile::TempDir;

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
    let again = |life, jitter| again_in(now, now.after(Duration::from_secs(life)), jitter).as_secs();
    assert_eq!(again(3600, 1.0), 3000);
    assert_eq!(again(3600, 1.1), 2940);
    assert_eq!(again(3600, 0.9), 3060);
    assert_eq!(again(1200, 1.0), 600);
    assert_eq!(again(900, 1.0), 450, "short ones at half their life");
    assert_eq!(again(900, 1.1), 495);
    assert_eq!(again(0, 1.1), 0);
    assert_eq!(
        again_in(now, UnixTime::from_secs(0), 1.0),
        Duration::ZERO,
        "ended already"
    );
    for life in [1, 60, 900, 1200, 1300, 3600, 21_600, 1_000_000] {
        assert!(again(life, 1.1) < life, "{life}");
    }
    let all: Vec<f64> = (0..50).map(|_| jitter()).collect();
    assert!(all.iter().all(|one| (0.9..=1.1).contains(one)) && all.iter().any(|one| *one != all[0]));
}

/// What the chain finds where the process was told this, and has no machine around it.
async fn found(variables: &[(&str, &str)]) -> Result<Found, ChainError> {
    let mut all = told(variables);
    all.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
    Chain::new(&Environment::Fixed(all), "r").load(None).await
}

fn told(variables: &[(&str, &str)]) -> HashMap<String, String> {
    let pairs = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    pairs.collect()
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
    fs::write(file.path(), "the-token\n").unwrap();
    let all = HashMap::from([
        ("AWS_ROLE_ARN".to_owned(), "arn:aws:iam::1:role/media".to_owned()),
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
            file.path().to_str().unwrap().to_owned(),
        ),
    ]);
    let mut chain = Chain::new(&Environment::Fixed(all), "eu-central-1");
    chain.context = chain.context.with_http_send(Sts);
    let found = chain.load(None).await.unwrap();
    assert_eq!(&*found.credentials.access_key_id, "ASIAWEB");
    assert_eq!(found.credentials.secret_access_key.reveal(), b"secret");
    assert_eq!(found.credentials.session_token.unwrap().reveal(), b"session");
    assert_eq!(found.expires, UnixTime::parse_compact("20260101T010000Z"));
}

/// A home with these files.
fn home(files: &[(&str, &str)]) -> TempDir {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    for (name, content) in files {
        fs::write(home.path().join(".aws").join(name), content).unwrap();
    }
    home
}

const WHOLE: &str = "aws_access_key_id = AKIAFILE\naws_secret_access_key = s\n";

#[tokio::test]
async fn a_place_that_is_there_by_half_is_a_failure_and_the_next_is_not_asked() {
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/never");
    let incomplete = |place: &str| format!("{place} gives none: it is not whole, or can't be read");
    for (variables, place) in [
        (vec![("AWS_ACCESS_KEY_ID", "A")], "the environment"),
        (vec![("AWS_SECRET_ACCESS_KEY", "s")], "the environment"),
        (
            vec![("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "")],
            "the environment",
        ),
        (vec![("AWS_SESSION_TOKEN", "t")], "the environment"),
        (vec![("AWS_PROFILE", "media")], "the shared profile"),
        (
            vec![("AWS_SHARED_CREDENTIALS_FILE", "/absent/credentials")],
            "the shared credentials file",
        ),
        (
            vec![("AWS_SHARED_CREDENTIALS_FILE", "~/credentials")],
            "the shared credentials file",
        ),
        (vec![("AWS_CONFIG_FILE", "/absent/config")], "the shared profile"),
        (vec![("AWS_ROLE_ARN", "arn")], "the web identity"),
        (
            vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/absent")],
            "the web identity",
        ),
    ] {
        let variables = [variables, vec![container]].concat();
        let error = found(&variables).await.err().unwrap().to_string();
        assert_eq!(error, incomplete(place), "{variables:?}");
    }
    let alone = [("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")];
    let error = found(&alone).await.err().unwrap().to_string();
    assert_eq!(error, incomplete("the container"));
}

#[tokio::test]
async fn a_profile_that_is_there_by_half_is_a_failure_and_the_next_is_not_asked() {
    let large = format!("{}[default]\n{WHOLE}", "#\n".repeat(MAX_BYTES / 2));
    let config = format!("[default]\n{WHOLE}");
    for (credentials, config, profile, place) in [
        // In the middle of a rewrite: empty, the head of the section alone, or half of it.
        (Some(""), None, None, Place::Profile),
        (Some("[def"), None, None, Place::Profile),
        (Some("[default]\n"), Some(&*config), None, Place::CredentialsFile),
        (
            Some("[default]\naws_access_key_id = AKIA\n"),
            Some(&*config),
            None,
            Place::CredentialsFile,
        ),
        (Some(&*large), Some(&*config), None, Place::CredentialsFile),
        (Some("[other]\n"), None, None, Place::Profile),
        (Some("[default]\n"), None, Some("media"), Place::Profile),
        // Kinds that are not read.
        (
            None,
            Some("[default]\ncredential_process = x\n"),
            None,
            Place::Profile,
        ),
        (
            None,
            Some("[profile default]\nsso_session = x\n"),
            None,
            Place::Profile,
        ),
        (
            None,
            Some("[profile media]\nRole_ARN = x\n"),
            Some("media"),
            Place::Profile,
        ),
        (None, Some(&*large), None, Place::Profile),
    ] {
        let files: Vec<(&str, &str)> = [("credentials", credentials), ("config", config)]
            .into_iter()
            .filter_map(|(name, content)| Some((name, content?)))
            .collect();
        let home = home(&files);
        let mut variables = vec![
            ("HOME", home.path().to_str().unwrap()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/never"),
        ];
        variables.extend(profile.map(|profile| ("AWS_PROFILE", profile)));
        let error = found(&variables).await.err().unwrap();
        assert!(
            matches!(error, ChainError::Failed(at, _) if at == place),
            "{error}: {credentials:.40?} {config:.40?} {profile:?}"
        );
    }
}

#[tokio::test]
async fn what_is_empty_or_says_nothing_of_credentials_is_not_there() {
    let bare = home(&[(
        "config",
        "[default]\nregion = eu-central-1\n[profile x]\nrole_arn = y\n",
    )]);
    let no_home = TempDir::new().unwrap();
    for variables in [
        vec![
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_PROFILE", ""),
            ("AWS_SHARED_CREDENTIALS_FILE", ""),
            ("AWS_ROLE_ARN", ""),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
            ("HOME", ""),
        ],
        vec![("HOME", bare.path().to_str().unwrap())],
        vec![("HOME", no_home.path().to_str().unwrap())],
        vec![("HOME", "/dev/null")],
        vec![
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_CONFIG_FILE", "/dev/null"),
        ],
    ] {
        let error = found(&variables).await.err().unwrap();
        assert!(matches!(error, ChainError::Nowhere), "{error}: {variables:?}");
    }
}

#[tokio::test]
async fn a_whole_profile_is_found_in_either_file() {
    let section = |head: &str| format!("[{head}]\n{WHOLE}");
    for (name, head, profile, place) in [
        ("credentials", "default", None, Place::CredentialsFile),
        ("credentials", "media", Some("media"), Place::CredentialsFile),
        ("config", "default", None, Place::Profile),
        ("config", "profile media", Some("media"), Place::Profile),
    ] {
        let home = home(&[(name, &section(head))]);
        if name == "config" {
            // Others' profiles stand beside it.
            fs::write(home.path().join(".aws/credentials"), section("other")).unwrap();
        }
        let mut variables = vec![("HOME", home.path().to_str().unwrap())];
        variables.extend(profile.map(|profile| ("AWS_PROFILE", profile)));
        let found = found(&variables).await.unwrap();
        assert_eq!(found.place, place, "{name} {head}");
        assert_eq!(&*found.credentials.access_key_id, "AKIAFILE");
    }
}

#[tokio::test]
async fn a_pinned_place_is_asked_alone() {
    let home = home(&[]);
    let variables = told(&[
        ("HOME", home.path().to_str().unwrap()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/never"),
    ]);
    let chain = Chain::new(&Environment::Fixed(variables), "r");
    let error = chain.load(Some(Place::CredentialsFile)).await.err().unwrap();
    assert!(
        matches!(error, ChainError::Failed(Place::CredentialsFile, _)),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_past_the_limit_is_refused_and_not_cut() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    fs::write(path, vec![b'x'; MAX_BYTES]).unwrap();
    assert_eq!(Reader.file_read(path).await.unwrap().len(), MAX_BYTES);
    fs::write(path, vec![b'x'; MAX_BYTES + 1]).unwrap();
    assert!(Reader.file_read(path).await.is_err());
}

#[test]
fn sts_is_asked_in_the_region_of_the_process() {
    let region = |variables| Chain::new(&Environment::Fixed(told(variables)), "bucket-region").region;
    assert_eq!(region(&[("AWS_REGION", "eu-west-1")]), "eu-west-1");
    assert_eq!(region(&[("AWS_REGION", "")]), "bucket-region");
    assert_eq!(region(&[]), "bucket-region");
}

/// A bucket's keys that are kept current from a profile, by a clock that stands.
struct Kept {
    keys: Arc<Keys>,
    home: TempDir,
    environment: Environment,
}

impl Kept {
    fn new(more: &[(&str, &str)]) -> Self {
        let home = home(&[]);
        let mut variables = told(more);
        variables.insert("HOME".into(), home.path().to_str().unwrap().into());
        variables.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
        Self {
            keys: Arc::new(Keys::awaited("kept", "r")),
            environment: Environment::Fixed(variables),
            home,
        }
    }

    fn write(&self, id: &str) {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\n");
        fs::write(self.home.path().join(".aws/credentials"), text).unwrap();
    }

    async fn load(&self) -> Result<Place, ChainError> {
        let source = CredentialSource {
            keys: Arc::clone(&self.keys),
            environment: self.environment.clone(),
            look: Duration::from_secs(1),
        };
        source.take(source.load().await?, UnixTime::from_secs(0))
    }

    fn id(&self) -> String {
        let id = |signer: &crate::sigv4::Signer| signer.credentials().access_key_id.to_string();
        self.keys.with(UnixTime::from_secs(0), id).unwrap()
    }
}

#[tokio::test]
async fn a_profile_that_vanishes_while_it_is_rewritten_leaves_what_is_held() {
    let kept = Kept::new(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/never")]);
    kept.write("AKIAFIRST");
    assert_eq!(kept.load().await.unwrap(), Place::CredentialsFile);
    let path = kept.home.path().join(".aws/credentials");
    for step in ["", "[default]\n", "[default]\naws_access_key_id = AKIASECOND\n"] {
        fs::write(&path, step).unwrap();
        let error = kept.load().await.unwrap_err();
        assert!(
            matches!(error, ChainError::Failed(Place::CredentialsFile, _)),
            "{error}"
        );
        assert_eq!(kept.id(), "AKIAFIRST");
    }
    fs::remove_file(&path).unwrap();
    let error = kept.load().await.unwrap_err();
    assert!(
        matches!(error, ChainError::Failed(Place::CredentialsFile, _)),
        "{error}"
    );
    assert_eq!(kept.id(), "AKIAFIRST");
    kept.write("AKIASECOND");
    kept.load().await.unwrap();
    assert_eq!(kept.id(), "AKIASECOND");
}

#[tokio::test]
async fn what_the_origin_refused_is_not_taken_again() {
    let kept = Kept::new(&[]);
    kept.write("AKIAFIRST");
    kept.load().await.unwrap();
    kept.keys.refused();
    assert!(matches!(
        kept.load().await,
        Err(ChainError::Same(Place::CredentialsFile))
    ));
    assert_eq!(kept.id(), "AKIAFIRST", "there is nothing better");
}

#[test]
fn pauses_double_up_to_a_minute() {
    let keys = Arc::new(Keys::awaited("files", "r"));
    let source = CredentialSource::of(&keys).unwrap();
    let pauses: Vec<u64> = (0..9).map(|failures| source.pause(failures).as_secs()).collect();
    assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(source.pause(u32::MAX).as_secs(), 60);
}

/// A machine's metadata service that forgets its session tokens, as one that was started anew does.
#[derive(Clone, Debug, Default)]
struct Metadata(Arc<Mutex<u32>>);

impl HttpSend for Metadata {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let mut number = self.0.lock().unwrap();
        let said = request
            .headers()
            .get("x-aws-ec2-metadata-token")
            .map(|said| said.to_str().unwrap().to_owned());
        let answer = match (request.uri().path(), said) {
            ("/latest/api/token", None) => {
                *number += 1;
                number.to_string()
            }
            (path, Some(said)) if said == number.to_string() => match path.ends_with('/') {
                true => "role".to_owned(),
                false => "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIAMETA\",\"SecretAccessKey\":\"s\",\
                          \"Token\":\"t\",\"Expiration\":\"2026-01-01T01:00:00Z\"}"
                    .to_owned(),
            },
            _ => {
                let mut refused = Response::new(Bytes::new());
                *refused.status_mut() = http::StatusCode::UNAUTHORIZED;
                return Ok(refused);
            }
        };
        Ok(Response::new(answer.into()))
    }
}

#[tokio::test]
async fn each_load_asks_for_a_session_token_of_its_own() {
    let metadata = Metadata::default();
    for number in 1..=2 {
        let mut chain = Chain::new(&Environment::Fixed(HashMap::new()), "r");
        chain.context = chain.context.with_http_send(metadata.clone());
        let found = chain.load(None).await.unwrap();
        assert_eq!(&*found.credentials.access_key_id, "ASIAMETA");
        assert_eq!(*metadata.0.lock().unwrap(), number);
    }
}
