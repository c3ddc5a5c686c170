//! What is wrong, or deserves a second look, with schemes that judge whole requests.

use super::{BASE, errors, warnings};

/// A second route with these lines, below `/s`. `KEYS` stands for keys that are there.
fn with(lines: &str) -> String {
    let keys = "keys = [{ name = \"one\", secret = { env = \"PATH\" } }]";
    let lines = lines.replace("KEYS", keys);
    format!("{BASE}\n[[route]]\nname = \"s\"\npath = \"/s\"\norigin = \"files\"\n{lines}\n")
}

fn bunny(lines: &str) -> String {
    with(&format!("[route.scheme.bunny]\nKEYS\n{lines}"))
}

fn mac(lines: &str) -> String {
    with(&format!("[route.scheme.mac]\nKEYS\n{lines}"))
}

#[test]
fn schemes_of_signed_requests_have_their_errors() {
    let own = "algorithm = \"hmac-sha256\"\nencoding = \"hex\"\n";
    let cat = |lines: &str| {
        with(&format!(
            "[route.scheme.cat]\nkeys = [{{ name = \"one\", alg = \"HS256\", secret = {{ env = \"PATH\" }} }}]\n{lines}"
        ))
    };
    for (text, path, what) in [
        (
            bunny("generations = []"),
            "route[1].scheme.bunny.generations",
            "is empty",
        ),
        (
            bunny("generations = [\"md5\", \"md5\"]"),
            "route[1].scheme.bunny.generations[1]",
            "twice",
        ),
        (
            bunny("country_header = \"X-Country\""),
            "route[1].scheme.bunny.country_header",
            "trusted proxies",
        ),
        (
            bunny("leeway = \"6m\""),
            "route[1].scheme.bunny.leeway",
            "out of range",
        ),
        (
            with("[route.scheme.bunny]\nkeys = []"),
            "route[1].scheme.bunny.keys",
            "1 to 64 keys",
        ),
        (
            with("[route.scheme.bunny]\nkeys = [{ name = \"one\" }]"),
            "route[1].scheme.bunny.keys[0].secret",
            "missing",
        ),
        (
            bunny("").replace("{ name = \"one\",", "{ name = \"one\", alg = \"HS256\","),
            "route[1].scheme.bunny.keys[0].alg",
            "means nothing",
        ),
        (
            bunny("").replace("}]", "}, { name = \"one\", secret = { env = \"PATH\" } }]"),
            "route[1].scheme.bunny.keys[1].name",
            "two keys",
        ),
        (
            with("carriers = [{ query = \"t\" }]\n[route.scheme.bunny]\nKEYS"),
            "route[1].carriers",
            "no scheme of the route asks",
        ),
        (
            with(
                "carriers = [{ query = \"token\" }]\nscheme.jwt = { keys = \"media\", issuer = \"i\", audience = \"a\" }\n[route.scheme.bunny]\nKEYS",
            ),
            "route[1].scheme",
            "both find their token in ?token=",
        ),
        (
            with("carriers = [{ path = \"/s/{token}/**\" }]\n[route.scheme]"),
            "route[1].scheme",
            "is empty",
        ),
        (
            mac("preset = \"keycnd\""),
            "route[1].scheme.mac.preset",
            "there is no preset",
        ),
        (mac(""), "route[1].scheme.mac.pattern", "missing"),
        (
            mac("preset = \"alibaba_a\""),
            "route[1].scheme.mac.ttl",
            "missing",
        ),
        (
            mac("preset = \"keycdn\"\nttl = \"5m\""),
            "route[1].scheme.mac.ttl",
            "means nothing",
        ),
        (
            mac("preset = \"keycdn\"\npattern = \"{secret}\""),
            "route[1].scheme.mac",
            "needs the path",
        ),
        (
            mac("preset = \"keycdn\"\npattern = \"{path\""),
            "route[1].scheme.mac.pattern",
            "brace",
        ),
        (
            mac("preset = \"keycdn\"\nplace = \"?m={hash}\""),
            "route[1].scheme.mac.place",
            "hash",
        ),
        (
            mac("preset = \"nginx_secure_link\"\nreading = \"nginx\""),
            "route[1].scheme.mac.reading",
            "never over a folder",
        ),
        (
            mac("preset = \"fastly\""),
            "route[1].scheme.mac.keys[0].encoding",
            "Base64",
        ),
        (
            mac(&format!(
                "{own}pattern = \"{{path}}\"\nplace = \"?m={{mac}}\"\ntime = \"none\""
            )),
            "route[1].scheme.mac",
            "without_expiry",
        ),
        (
            mac("preset = \"mod_auth_token\"\nttl = \"5m\"\nplace = \"/dl/{mac}/{issued}\""),
            "route[1].scheme.mac.place",
            "does not lie below",
        ),
        (
            with(
                "[[route.scheme.mac]]\nKEYS\npreset = \"keycdn\"\n[[route.scheme.mac]]\nKEYS\npreset = \"keycdn\"",
            ),
            "route[1].scheme",
            "both find their token",
        ),
        (cat("issuer = []"), "route[1].scheme.cat.issuer", "is empty"),
        (
            cat("audience_required = true"),
            "route[1].scheme.cat.audience_required",
            "needs audiences",
        ),
        (
            cat("labels = { catx = 401 }"),
            "route[1].scheme.cat.labels.catx",
            "no claim of this name",
        ),
        (
            cat("cookies = [\"a b\"]"),
            "route[1].scheme.cat.cookies[0]",
            "is no cookie name",
        ),
        (
            cat("headers = []\ncookies = []\nqueries = []"),
            "route[1].scheme.cat",
            "no place for its token",
        ),
        (
            cat("").replace("alg = \"HS256\", ", ""),
            "route[1].scheme.cat.keys[0].alg",
            "missing",
        ),
        (
            with("[route.scheme.uri_signing]"),
            "route[1].scheme.uri_signing",
            "has no keys",
        ),
        (
            with("[route.scheme.uri_signing]\nunnamed_keys = \"media\"\nresolve_dots = true"),
            "route[1].scheme.uri_signing.resolve_dots",
            "never over a folder",
        ),
        (
            with("[route.scheme.uri_signing]\nissuers = { a = \"media\" }\nmint_issuer = \"b\""),
            "route[1].scheme.uri_signing.mint_issuer",
            "none of `issuers`",
        ),
        (
            with("[route.scheme.cloudfront]\nkeys = [{ name = \"K\", secret = { env = \"PATH\" } }]"),
            "route[1].scheme.cloudfront.keys[0].public_key",
            "missing",
        ),
        (
            with("[route.scheme.cloud_cdn]\nKEYS"),
            "route[1].scheme.cloud_cdn.keys[0].secret",
            "base64url",
        ),
        (
            with("[route.scheme.edge_auth]\nKEYS"),
            "route[1].scheme.edge_auth.keys[0].secret",
            "hexadecimal",
        ),
        (
            with(
                "[route.scheme.media_cdn]\nKEYS\n[route.scheme.media_cdn.session]\nKEYS\ncookie = \"hdnts\"",
            ),
            "route[1].scheme.media_cdn.session.cookie",
            "that of a short token",
        ),
        (
            with("[route.scheme.media_cdn]\nKEYS\n[route.scheme.media_cdn.session]\nKEYS"),
            "route[1].scheme.media_cdn.session.keys[0].secret",
            "seals short tokens, too",
        ),
        (
            with(
                "[[route.scheme.s3_presigned.keys]]\nname = \"A/B\"\nregion = \"eu\"\nsecret = { env = \"PATH\" }",
            ),
            "route[1].scheme.s3_presigned.keys[0].name",
            "no such name",
        ),
    ] {
        let found = errors(&text);
        let is_it = found
            .iter()
            .any(|problem| problem.path == path && problem.to_string().contains(what));
        assert!(is_it, "{path}: {what} is not in {found:?}\n{text}");
    }
}

#[test]
fn schemes_that_sign_the_host_need_to_know_it() {
    let without = |lines: &str| with(lines).replace("public_url = \"https://media.example.com\"\n", "");
    for (scheme, lines) in [
        ("cloud_cdn", "KEYS"),
        ("cloudfront", "keys = [{ name = \"K\", public_key = \"k.pem\" }]"),
        ("media_cdn", "KEYS"),
        ("uri_signing", "unnamed_keys = \"media\""),
    ] {
        let found = errors(&without(&format!("[route.scheme.{scheme}]\n{lines}")));
        let says = |problem: &crate::config::Problem| problem.to_string().contains("set server.public_url");
        assert!(found.iter().any(says), "{scheme}: {found:?}");
    }
}

#[test]
fn what_deserves_a_second_look_in_signed_requests_is_a_warning() {
    for (text, what) in [
        (
            mac(
                "preset = \"keycdn\"\npattern = \"{path} {secret}\"\nplace = \"?m={mac}\"\ntime = \"none\"\nwithout_expiry = true",
            ),
            "until their key is gone",
        ),
        (
            with("[route.scheme.uri_signing]\nunnamed_keys = \"media\"\nexpiry_required = false"),
            "live for ever",
        ),
    ] {
        let found = warnings(&text);
        assert!(
            found.iter().any(|warning| warning.to_string().contains(what)),
            "{what}: {found:?}"
        );
    }
}
