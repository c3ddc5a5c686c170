//! What is wrong, or deserves a second look, with the dialects that hand out media ids and with schemes.

use super::{BASE, errors, warnings};
use crate::config::Warning;

/// With an issuer, the catalogues `m` and `n` by template, a route that takes the tokens of audience `d` for `m`, and these
/// lines of `[issuer.native]` and `[issuer.fynn_invoice]`.
fn with(native: &str, invoice: &str) -> String {
    format!(
        "{BASE}\n[keys.callers]\njwks = \"http://127.0.0.1:1/\"\n[media.m]\ntemplate = \"/m/{{id}}\"\n[media.n]\ntemplate = \"/n/{{id}}\"\n\
         [[route]]\nname = \"download\"\npath = \"/media\"\norigin = \"files\"\nmedia = \"m\"\n\
         carriers = [{{ path = \"/media/{{id}}/download/{{token}}\" }}]\n\
         scheme.jwt = {{ keys = \"media\", issuer = \"i\", audience = \"d\" }}\n\
         [issuer]\nlisten = \"127.0.0.1:0\"\n\
         [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"c\"\naudience = \"c\"\n\
         [[issuer.rule]]\nrequires = \"r\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n\
         [issuer.native]\nkeys = \"media\"\nissuer = \"i\"\naudience = \"a\"\n{native}\n\
         [issuer.fynn_invoice]\nkeys = \"media\"\nissuer = \"i\"\naudience = \"d\"\n{invoice}\n"
    )
}

fn has(found: &[Warning], path: &str, what: &str) -> bool {
    let is_it = |problem: &Warning| problem.path == path && problem.to_string().contains(what);
    found.iter().any(is_it)
}

#[test]
fn schemes_and_invoices_have_their_errors() {
    let good = "media = \"m\"";
    let invoice = |line: &str| with("", &format!("{good}\n{line}"));
    for (text, path, what) in [
        (
            with("schemes = []", good),
            "issuer.native.schemes",
            "no token can be made",
        ),
        (
            with("schemes = [\"jwt\", \"jwt\"]", good),
            "issuer.native.schemes[1]",
            "twice",
        ),
        (
            with("schemes = [\"opaqe\"]", good),
            "issuer.native.schemes[0]",
            "did you mean",
        ),
        (
            invoice("max_seconds = 4"),
            "issuer.fynn_invoice.max_seconds",
            "out of range",
        ),
        (
            invoice("max_seconds = 31622401"),
            "issuer.fynn_invoice.max_seconds",
            "out of range",
        ),
        (
            invoice("path = \"/i/{id}\""),
            "issuer.fynn_invoice.path",
            "{token}",
        ),
        (
            invoice("path = \"/i/{number}/{token}\""),
            "issuer.fynn_invoice.path",
            "other variables",
        ),
        (
            invoice("folder = \"invoice\""),
            "issuer.fynn_invoice.folder",
            "template",
        ),
        (
            with("", "media = \"o\""),
            "issuer.fynn_invoice.media",
            "no media catalogue",
        ),
        // A token of invoice 7 would open medium 7.
        (
            with("", "media = \"n\""),
            "issuer.fynn_invoice.audience",
            "another catalogue at route[1]",
        ),
    ] {
        let found = errors(&text);
        assert!(has(&found, path, what), "{path}: {what}: {found:#?}");
    }
}

#[test]
fn schemes_and_invoices_that_open_too_little_or_too_much_are_a_warning() {
    let found = warnings(&with("schemes = [\"jwt\", \"opaque\"]", "media = \"m\""));
    assert!(
        has(&found, "issuer.native.schemes[1]", "no route accepts"),
        "{found:?}"
    );
    assert!(!has(&found, "issuer.fynn_invoice.path", ""), "{found:?}");
    let found = warnings(&with(
        "",
        "media = \"m\"\npath = \"/invoices/{id}/download/{token}\"",
    ));
    assert!(
        has(&found, "issuer.fynn_invoice.path", "no route that accepts"),
        "{found:?}"
    );
    assert!(!has(&found, "issuer.fynn_invoice", ""), "{found:?}");
    let both = with("", "media = \"m\"")
        + "[issuer.fynn]\nkeys = \"media\"\nissuer = \"i\"\naudience = \"d\"\nmedia = \"m\"\n";
    let found = warnings(&both);
    assert!(has(&found, "issuer.fynn_invoice", "all media"), "{found:?}");
}

#[test]
fn what_the_issuer_remembers_needs_the_store() {
    let needs = |native: &str| {
        let case = super::Case::new(&with(native, "media = \"m\""));
        case.load()
            .map_err(|errors| errors.to_string())
            .unwrap()
            .snapshot
            .needs_store
    };
    assert!(!needs("") && !needs("schemes = [\"jwt\"]"));
    assert!(needs("schemes = [\"opaque\"]"));
}

#[test]
fn a_catalogue_is_read_whole_or_not_at_all() {
    let read = |ending: &str, catalogue: &str| {
        let text = format!(
            "{BASE}\n[media.m]\nfile = \"catalogue.{ending}\"\n[[route]]\nname = \"download\"\npath = \"/media\"\norigin = \"files\"\n\
             media = \"m\"\ncarriers = [{{ path = \"/media/{{id}}/{{token}}\" }}]\n\
             scheme.jwt = {{ keys = \"media\", issuer = \"i\", audience = \"d\" }}\n"
        );
        let case = super::Case::new(&text);
        std::fs::write(case.path(&format!("catalogue.{ending}")), catalogue).unwrap();
        case.load().map(|_| ()).map_err(|errors| errors.to_string())
    };
    let whole =
        r#"{"1":{"file":"/a.bin","name":"A.pdf","type":"application/pdf","folder":"invoice","owner":"42"}}"#;
    assert_eq!(read("json", whole), Ok(()));
    assert_eq!(
        read(
            "toml",
            "[1]\nfile = \"/a.bin\"\ntype = \"text/plain; charset=utf-8\"\n"
        ),
        Ok(())
    );
    for (ending, catalogue, what) in [
        ("json", r#"{"1":{"file":"/a.bin","type":"pdf"}}"#, "no media type"),
        (
            "toml",
            "[1]\nfile = \"/a.bin\"\ntype = \"a/b\\r\\nX: y\"\n",
            "no media type",
        ),
        ("toml", "[1]\nfile = \"/a.bin\"\ntyp = \"a/b\"\n", "unknown field"),
        ("toml", "[1]\nname = \"a\"\n", "missing field"),
        ("toml", "[\"a/b\"]\nfile = \"/a.bin\"\n", "no media id"),
        ("toml", "[1]\nfile = \"a.bin\"\n", "does not start with a slash"),
        ("toml", "[1]\nfile = \"/../a.bin\"\n", "no path to a file"),
        ("json", "[]", "catalogue.json:1"),
        (
            "json",
            r#"{"1":{"file":"/a"},"\u0031":{"file":"/b"}}"#,
            "stands twice",
        ),
        ("toml", "1.file = \"/a\"\n\"1\".file = \"/b\"\n", "duplicate key"),
    ] {
        let error = read(ending, catalogue).unwrap_err();
        assert!(error.contains(what), "{catalogue}: {error}");
    }
}
