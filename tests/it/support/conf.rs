//! Pieces of configuration that many tests share. `{dir}` is the gate's own folder; `Setup` fills it in.

use std::net::SocketAddr;
use std::path::Path;

use super::mint::{AUDIENCE, CALLERS, CALLERS_AUDIENCE, ISSUER};

/// `[origin.files]`: an HTTP server, with short waits.
pub(crate) fn http(address: SocketAddr) -> String {
    http_with(address, "")
}

/// `[origin.files]`: an HTTP server, with short waits and further keys.
pub(crate) fn http_with(address: SocketAddr, more: &str) -> String {
    format!(
        "[origin.files.http]\nurl = \"http://{address}\"\nconnect_timeout = \"5s\"\nhead_timeout = \"10s\"\n\
         gap_timeout = \"10s\"\n{more}\n"
    )
}

/// `[origin.files]`: an HTTP server that may take `wait` to answer and between two pieces.
pub(crate) fn impatient(address: SocketAddr, wait: &str) -> String {
    format!(
        "[origin.files.http]\nurl = \"http://{address}\"\nconnect_timeout = \"5s\"\nhead_timeout = \"{wait}\"\n\
         gap_timeout = \"{wait}\"\n"
    )
}

/// `[origin.files]`: a folder.
pub(crate) fn folder(root: &Path) -> String {
    format!("[origin.files.folder]\nroot = \"{}\"\n", root.display())
}

/// `[[route]]` for everything, with all carriers of the default configuration.
pub(crate) fn route() -> String {
    route_with("files", "/", "")
}

/// `[[route]]` with further keys.
pub(crate) fn route_with(name: &str, path: &str, more: &str) -> String {
    route_carried(
        name,
        path,
        r#"{ query = "t" }, { path_prefix = "~" }, { bearer = {} }, { cookie = "media" }"#,
        more,
    )
}

/// `[[route]]` with these carriers and further keys. Sub-tables belong behind `more`'s last plain key.
pub(crate) fn route_carried(name: &str, path: &str, carriers: &str, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"{path}\"\norigin = \"files\"\ncarriers = [{carriers}]\n{more}\n\
         [route.scheme.jwt]\nkeys = \"media\"\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n"
    )
}

/// The catalogue that `fynn` serves from.
pub(crate) const CATALOGUE: &str = r#"
[01F9]
file = "/store/report.bin"
name = "Rechnung – März €.pdf"
folder = "invoice"
owner = "customer-42"

[01FA]
file = "/store/other.bin"
name = "Other.pdf"
folder = "product"
owner = "customer-43"

[01FB]
file = "/store/contract.bin"
name = "Contract.pdf"
folder = "contract"
owner = "customer-42"
"#;

/// The download route of the Fynn dialect, its catalogue in `{dir}/catalogue.toml`.
pub(crate) fn fynn_route() -> String {
    format!(
        "[media.store]\nfile = \"{{dir}}/catalogue.toml\"\n\
         [[route]]\nname = \"download\"\npath = \"/media\"\norigin = \"files\"\n\
         carriers = [{{ path = \"/media/{{id}}/download/{{token}}\" }}]\nmedia = \"store\"\nscope = \"claims\"\n\
         dialect = \"fynn\"\nmount = [\"fynn\"]\n\
         [route.scheme.jwt]\nkeys = \"download\"\nissuer = \"{ISSUER}\"\naudience = \"download\"\n"
    )
}

/// `[issuer]` with both dialects and these rules.
pub(crate) fn issuer(rules: &str) -> String {
    format!(
        "[issuer]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"https://app.example.com\"]\n\
         [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n\
         {rules}\n\
         [issuer.native]\nkeys = \"media\"\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
         [issuer.fynn]\nkeys = \"download\"\nissuer = \"{ISSUER}\"\naudience = \"download\"\nmedia = \"store\"\nttl = \"1m\"\n"
    )
}

/// `media:read` opens everything for at most an hour, five minutes by default; only invoices and products by media id.
pub(crate) const RULE: &str = "[[issuer.rule]]\nrequires = \"media:read\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n\
     default_ttl = \"5m\"\nfolders = [\"invoice\", \"product\"]\n";

/// `[landing]` with further keys; its sessions are signed with the media key.
pub(crate) fn landing(more: &str) -> String {
    format!("[landing]\nkeys = \"media\"\nissuer = \"{ISSUER}\"\n{more}\n")
}

/// `[[route]]` for everything that believes sessions, media tokens and opaque ones, and tells the origin whose they are.
pub(crate) fn session_route(more: &str) -> String {
    format!(
        "[[route]]\nname = \"portal\"\npath = \"/\"\norigin = \"files\"\n\
         carriers = [{{ query = \"t\" }}, {{ cookie = \"session\" }}]\nidentity_headers = {{ X-Media-Subject = \"sub\" }}\n{more}\n\
         [route.scheme.jwt]\nkeys = \"media\"\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\", \"session\"]\n\
         [route.scheme.opaque]\n"
    )
}
