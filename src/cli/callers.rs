//! `mediagate callers`: local users and clients, in the file that the configuration names. A password comes from the terminal
//! without echo, from standard input, or is made here; hashes are never shown.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Failed;
use crate::config::Loaded;
use crate::config::callers::{change, check_name, check_scope, read};
use crate::issuer::accounts::{Account, Kind, MAX_PASSWORD_BYTES, PasswordHash};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user, or with --client a program; the password is asked for, or read from standard input
    Add(AddFlags),
    /// List them: kind, name, subject, scope
    List,
    /// Remove one
    Remove {
        /// Its name.
        #[arg(long)]
        name: String,
    },
}

#[derive(Args)]
pub(super) struct AddFlags {
    /// Its name, with which it signs in.
    #[arg(long)]
    name: String,
    /// Whom its bearers are for; the name where absent.
    #[arg(long)]
    subject: Option<String>,
    /// What its bearers may do, as the rules demand it; separated by spaces.
    #[arg(long, default_value = "media:read")]
    scope: String,
    /// A program: it gets no refresh tokens.
    #[arg(long)]
    client: bool,
    /// Make a password and print it.
    #[arg(long)]
    generate: bool,
    /// Replace one that is there, password and all.
    #[arg(long)]
    replace: bool,
}

pub(super) fn callers(loaded: &Loaded, command: Command) -> Result<(), Failed> {
    let path = loaded.callers_file.as_deref().ok_or_else(|| {
        Failed::Usage("the configuration names no file of callers: add `callers_file` to [issuer]".into())
    })?;
    match command {
        Command::Add(flags) => add(path, flags),
        Command::List => list(path),
        Command::Remove { name } => remove(path, &name),
    }
}

fn add(path: &Path, flags: AddFlags) -> Result<(), Failed> {
    let subject = flags.subject.unwrap_or_else(|| flags.name.clone());
    for (flag, checked) in [
        ("--name", check_name(&flags.name)),
        ("--subject", check_name(&subject)),
        ("--scope", check_scope(&flags.scope)),
    ] {
        checked.map_err(|what| Failed::Usage(format!("{flag} {what}")))?;
    }
    let password = if flags.generate {
        generated()?
    } else {
        password(&flags.name)?
    };
    let hash = PasswordHash::of(password.as_bytes()).map_err(|what| Failed::Usage(what.into()))?;
    let account = Account {
        name: flags.name.as_str().into(),
        subject: subject.into(),
        scope: flags.scope.into(),
        kind: if flags.client { Kind::Client } else { Kind::User },
        hash,
    };
    let changed = change(path, |all| {
        let there = all.iter().position(|other| other.name == account.name);
        match there {
            Some(at) if flags.replace => all[at] = account,
            Some(_) => return Err("there is a caller of this name: --replace puts another in its place"),
            None => all.push(account),
        }
        Ok(())
    });
    changed.map_err(Failed::Other)?;
    if flags.generate {
        say!("{}", *password);
    }
    eprintln!("{} is in {}", flags.name, path.display());
    Ok(())
}

fn list(path: &Path) -> Result<(), Failed> {
    for account in read(path).map_err(|errors| Failed::Config(errors.to_string()))? {
        let kind = account.kind.as_str();
        say!("{kind}\t{}\t{}\t{}", account.name, account.subject, account.scope);
    }
    Ok(())
}

fn remove(path: &Path, name: &str) -> Result<(), Failed> {
    let changed = change(path, |all| {
        let before = all.len();
        all.retain(|account| &*account.name != name);
        if all.len() == before {
            Err("there is no caller of this name")
        } else {
            Ok(())
        }
    });
    changed.map_err(Failed::Other)?;
    eprintln!("{name} can't sign in any more. Bearers that it has work to their end: see `mediagate revoke`");
    Ok(())
}

/// 144 random bits.
fn generated() -> Result<Zeroizing<String>, Failed> {
    let mut bytes = Zeroizing::new([0; 18]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| Failed::Other("no random numbers".into()))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// From a person, who types it twice, or from a pipe, whose last line end is cut off.
fn password(name: &str) -> Result<Zeroizing<String>, Failed> {
    let failed = |error: io::Error| Failed::Other(format!("the password can't be read: {error}"));
    let password = if io::stdin().is_terminal() {
        let first = typed(&format!("Password of {name}: ")).map_err(failed)?;
        let second = typed("Again: ").map_err(failed)?;
        if first != second {
            return Err(Failed::Usage("the passwords differ".into()));
        }
        first
    } else {
        let mut text = Zeroizing::new(String::new());
        let most = MAX_PASSWORD_BYTES as u64 + 3;
        io::stdin().take(most).read_to_string(&mut text).map_err(failed)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
    };
    if password.is_empty() || password.contains(['\n', '\r', '\0']) {
        return Err(Failed::Usage("a password is one line that is not empty".into()));
    }
    if password.len() < 12 {
        eprintln!("warning: a password of less than 12 bytes can be guessed; --generate makes a good one");
    }
    Ok(password)
}

/// One line from the terminal, which does not show it.
fn typed(prompt: &str) -> io::Result<Zeroizing<String>> {
    /// Shows again what is typed, whatever happens.
    struct Shown(rustix::termios::Termios);
    impl Drop for Shown {
        fn drop(&mut self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
            eprintln!();
        }
    }
    let modes = tcgetattr(io::stdin())?;
    let mut silent = modes.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let _shown = Shown(modes);
    eprint!("{prompt}");
    io::stderr().flush()?;
    let mut line = Zeroizing::new(String::new());
    io::stdin().read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}
