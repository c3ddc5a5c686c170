//! The commands. Exit codes: 0, 64 for usage (`sysexits.h`), 78 for the configuration, 1 for everything else.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, ConfigErrors, KeyFiles, Loaded};

/// Prints a line for people or for another program.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::print(format_args!($($text)*)) };
}

mod callers;
mod check;
mod explain;
mod found;
mod inspect;
mod keys;
mod reload;
mod revoke;
mod serve;
mod store;
mod token;

pub use reload::changes;
pub use serve::setup;

const USAGE: u8 = 64;
const CONFIG: u8 = 78;
const OTHER: u8 = 1;

/// Why a command ends without success.
pub(crate) enum Failed {
    /// The arguments make no sense together.
    Usage(String),
    /// The configuration is wrong; all of it is in the text.
    Config(String),
    /// Everything else.
    Other(String),
}

impl Failed {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

#[derive(Parser)]
#[command(
    name = "mediagate",
    version,
    about = "A reverse proxy that lets a request through only with a media token, and the issuer of those tokens.",
    long_about = "A reverse proxy that lets a request through only with a media token, and the issuer of those tokens.\n\n\
        Without a command it serves ./proxy.toml. A first look:\n\n  \
        mediagate                                     serve, and print a link that opens in a browser\n  \
        mediagate token mint --path /report.pdf       make another link\n  \
        mediagate explain --url 'http://…?t=…'        why does a link not work?\n  \
        mediagate check                               is the configuration right, and what does it do?\n\n\
        Exit codes: 0, 64 usage, 78 configuration, 1 otherwise."
)]
struct Cli {
    /// The configuration file. Relative paths in it are relative to its folder.
    #[arg(long, short, global = true, default_value = "proxy.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
#[allow(rustdoc::bare_urls, reason = "these texts are for terminals")]
enum Command {
    /// Serve until SIGTERM or SIGINT (the default)
    ///
    /// Binds the gate, the issuer and the admin port, makes the keys that the configuration asks for and that are not there,
    /// and drains on SIGTERM: /readyz says 503, no more connections are accepted, bodies run to their end. On SIGHUP, and
    /// when the configuration or a file that it names changes, it is read again; a wrong one changes nothing.
    Serve(serve::Flags),
    /// Say whether the configuration is right, and what each route does
    ///
    /// Reports every mistake at once, with its line and what to do, and exits 78. Without mistakes it prints each route's
    /// effective policy: nothing is inherited, merged or lost unseen. Makes no files.
    Check,
    /// Say why a link works or does not, through the very phases of the gate
    ///
    /// One request from flags, or JSON lines {"method","url","headers":{},"client_ip","now"} on standard input; one JSON line
    /// each on standard output. Asks neither the origin nor the store, and names what that leaves open in "unchecked":
    /// "uses" (was it used already, and may this client go on?), "revocation" (was it withdrawn?), "binding" (was it given
    /// to another client?). What an opaque token says is in the store alone: it is denied with "needs_store".
    ///
    ///   mediagate explain --url 'http://127.0.0.1:8080/clip.mp4?t=eyJ…'
    ///   mediagate explain --url '…' --now 1767225600 --client-ip 203.0.113.7 --header 'Range: bytes=0-'
    #[command(verbatim_doc_comment)]
    Explain(explain::Flags),
    /// Make and read tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List key sets, print their public halves, or make a new key
    ///
    ///   mediagate keys                        what is there: set, kid, algorithm, whether it signs, where from
    ///   mediagate keys --public               the public JWK set of all of them
    ///   mediagate keys new --alg EdDSA        a new private JWK set, for a key file (mode 0600!)
    #[command(verbatim_doc_comment)]
    Keys(keys::Flags),
    /// Manage local users and clients, who sign in at the issuer with a password
    ///
    /// They are in the file that the configuration names as `callers_file` of its issuer, passwords as argon2id hashes. A server
    /// that runs takes the change by itself.
    ///
    ///   mediagate callers add --name a@example.com --subject 42 --scope portal:customer    asks for the password
    ///   mediagate callers add --name backend --client --generate                           makes one, and prints it
    ///   mediagate callers list
    ///   mediagate callers remove --name a@example.com
    #[command(subcommand, verbatim_doc_comment)]
    Callers(callers::Command),
    /// Withdraw tokens that are out already: one, those of a subject, or those of a key
    ///
    /// Asks the server that runs over the same state folder, where it is in force with the next request; where none runs,
    /// it is written down for the next one. Prints what was withdrawn.
    ///
    ///   mediagate revoke --token 'https://media.example.com/report.pdf?t=…'
    ///   pbpaste | mediagate revoke --token -               the token is in no history
    ///   mediagate revoke --id 9f2c41d07be6a3108f14e45fceea167a    token_id=… in the access log
    ///   mediagate revoke --jti 5f0e --issuer https://app.example.com
    ///   mediagate revoke --subject 42                      all that subject 42 has until now
    ///   mediagate revoke --subject 42 --before 2026-01-01T00:00:00Z
    ///   mediagate revoke --key 2025-11                     all that this key signed
    #[command(verbatim_doc_comment)]
    Revoke(revoke::Flags),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Print a link with a token in it
    ///
    /// Signs with the key set of the route that serves the path, so that set has to hold a private or shared key; an opaque
    /// token is put into the store.
    ///
    ///   mediagate token mint --path /report.pdf
    ///   mediagate token mint --path /report.pdf --uses 1
    ///   mediagate token mint --path /report.pdf --uses 1 --opaque
    ///   mediagate token mint --path /report.pdf --opaque --purpose login --sub 42
    ///   mediagate token mint --path '/hls/**' --carrier path-prefix --ttl 4h
    ///   mediagate token mint --media 1
    #[command(verbatim_doc_comment)]
    Mint(Box<token::MintFlags>),
    /// Print a bearer with which a caller asks the issuer
    ///
    ///   curl -H "Authorization: Bearer $(mediagate token caller --sub 42 --scope media:read)" …
    #[command(verbatim_doc_comment)]
    Caller(token::CallerFlags),
    /// Read a token without trusting it: header, claims, times. Nothing is verified, unless --verify asks for it
    ///
    ///   mediagate token inspect 'http://…/report.pdf?t=eyJ…'
    ///   mediagate token inspect --verify --resource news PHNpZ25hdHVyZUluZm8+…
    ///
    /// --verify checks signature and time by the configuration, and with --resource what a short media token is for. It
    /// prints VALID_TOKEN, INVALID_TOKEN_FORMAT, INVALID_SIGNATURE, TOKEN_EXPIRED, INVALID_RESOURCE_ID or ERROR_UNKNOWN,
    /// and exits 1 for all but the first. Whether it was used or withdrawn is not asked.
    #[command(verbatim_doc_comment)]
    Inspect(InspectFlags),
}

#[derive(Args)]
struct InspectFlags {
    /// The token, or a link that holds one, or - for standard input.
    token: String,
    /// Check it by the configuration's routes, and print one word.
    #[arg(long)]
    verify: bool,
    /// The resource that a short media token has to be for.
    #[arg(long, requires = "verify")]
    resource: Option<String>,
}

/// Prints a line. A reader that has seen enough (`| head`) ends the program quietly, any other failure with 1.
fn print(text: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        let has_enough = error.kind() == io::ErrorKind::BrokenPipe;
        std::process::exit(if has_enough { 0 } else { OTHER.into() });
    }
}

/// Runs the command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match cli.command.unwrap_or(Command::Serve(serve::Flags::default())) {
        Command::Serve(flags) => serve::serve(&cli.config, &flags),
        Command::Check => load(&cli.config, KeyFiles::ReadOnly).and_then(|loaded| check::check(&loaded)),
        Command::Explain(flags) => {
            load(&cli.config, KeyFiles::Make).and_then(|loaded| explain::explain(&loaded, flags))
        }
        Command::Token(TokenCommand::Mint(flags)) => {
            load(&cli.config, KeyFiles::Make).and_then(|loaded| token::mint(&loaded, &flags))
        }
        Command::Token(TokenCommand::Caller(flags)) => {
            load(&cli.config, KeyFiles::Make).and_then(|loaded| token::caller(&loaded, &flags))
        }
        Command::Token(TokenCommand::Inspect(flags)) if flags.verify => load(&cli.config, KeyFiles::Make)
            .and_then(|loaded| inspect::verify(&loaded, &flags.token, flags.resource.as_deref())),
        Command::Token(TokenCommand::Inspect(flags)) => inspect::inspect(&flags.token),
        Command::Keys(flags) => keys::keys(flags, || load(&cli.config, KeyFiles::Make)),
        Command::Callers(command) => {
            load(&cli.config, KeyFiles::ReadOnly).and_then(|loaded| callers::callers(&loaded, command))
        }
        Command::Revoke(flags) => {
            load(&cli.config, KeyFiles::Make).and_then(|loaded| revoke::revoke(&loaded, &flags))
        }
    };
    let (code, text) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failed::Usage(text)) => (USAGE, text),
        Err(Failed::Config(text)) => (CONFIG, text),
        Err(Failed::Other(text)) => (OTHER, text),
    };
    eprintln!("mediagate: {text}");
    code.into()
}

fn load(path: &Path, key_files: KeyFiles) -> Result<Loaded, Failed> {
    config::load(path, key_files).map_err(wrong)
}

fn wrong(errors: ConfigErrors) -> Failed {
    let count = errors.problems.len();
    let word = if count == 1 { "mistake" } else { "mistakes" };
    Failed::Config(format!("{count} {word} in the configuration\n{errors}"))
}
