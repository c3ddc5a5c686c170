//! Local callers: users and clients who prove themselves by a name and a password, and what their bearers may do. Passwords
//! are known by their argon2id hashes alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// The longest name, subject and scope, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// What an unknown name's password is held against where there is no account yet: nobody's.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bWVkaWFnYXRlLWRlY295$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether a caller is a person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person, who stays signed in by refresh tokens.
    User,
    /// A program, which signs in anew when its bearer ends.
    Client,
}

impl Kind {
    /// As files and lists write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
        }
    }
}

/// A local caller.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: Box<str>,
    /// Whom its bearers are for.
    pub subject: Box<str>,
    /// What its bearers may do, separated by spaces.
    pub scope: Box<str>,
    /// A person or a program.
    pub kind: Kind,
    /// Its password.
    pub hash: PasswordHash,
}

/// A password's hash in PHC form (`$argon2id$…`). Not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl PasswordHash {
    /// Of a password, with a salt of its own.
    ///
    /// # Errors
    /// A sentence: not of 1 to `MAX_PASSWORD_BYTES`, or there are no random numbers.
    pub fn of(password: &[u8]) -> Result<Self, &'static str> {
        if !(1..=MAX_PASSWORD_BYTES).contains(&password.len()) {
            return Err("a password has 1 to 1024 bytes");
        }
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| "no random numbers")?;
        let hash = Argon2::default().hash_password_with_salt(password, &salt);
        let hash = hash.map_err(|_| "the password can't be hashed")?;
        Ok(Self(hash.to_string().into()))
    }

    /// Reads one. Weak ones are refused, and those that would take all memory or time.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let hash = Phc::new(text).map_err(|_| "is no hash in PHC form ($argon2id$v=19$…)")?;
        if hash.algorithm.as_str() != Algorithm::Argon2id.as_str()
            || hash.version != Some(Version::V0x13.into())
        {
            return Err("is not of argon2id, version 19");
        }
        let params = Params::try_from(&hash).map_err(|_| "has parameters that argon2id does not have")?;
        let salt = hash.salt.as_ref().map_or(0, |salt| salt.as_ref().len());
        let output = hash.hash.as_ref().map_or(0, |output| output.as_bytes().len());
        let fits = (7_168..=262_144).contains(&params.m_cost())
            && (1..=16).contains(&params.t_cost())
            && (1..=8).contains(&params.p_cost());
        if !fits || salt < 8 || output < 16 {
            return Err(
                "is weak or too costly: 7 to 256 MiB, 1 to 16 passes, at most 8 lanes, 8 bytes of salt, 16 of hash",
            );
        }
        Ok(Self(text.into()))
    }

    /// The text, for files. The name can be searched for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn is_of(&self, password: &[u8]) -> bool {
        Phc::new(&self.0).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }

    /// One of the same cost that no password has.
    fn decoy(&self) -> Self {
        let head = self.0.rfind('$').map_or("", |end| &self.0[..=end]);
        let tail = self.0.len() - head.len();
        Self(format!("{head}{}", "A".repeat(tail)).into())
    }
}

/// All local callers.
#[derive(Debug)]
pub struct Accounts {
    by_name: HashMap<Box<str>, Arc<Account>>,
    decoy: PasswordHash,
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new([])
    }
}

impl Accounts {
    /// Of accounts with different names.
    pub fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        let mut decoy = None;
        let mut by_name = HashMap::new();
        for account in accounts {
            decoy.get_or_insert_with(|| account.hash.decoy());
            by_name.insert(account.name.clone(), Arc::new(account));
        }
        Self {
            by_name,
            decoy: decoy.unwrap_or_else(|| PasswordHash(DECOY.into())),
        }
    }

    /// The one with this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Account>> {
        self.by_name.get(name)
    }

    /// The one whose name and password these are. For a name that nobody has it takes as long. Blocks, and is meant to.
    pub fn check(&self, name: &str, password: &[u8]) -> Option<Arc<Account>> {
        let account = self.find(name);
        let hash = account.map_or(&self.decoy, |account| &account.hash);
        let is_right = hash.is_of(password);
        account.filter(|_| is_right).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, hash: PasswordHash) -> Account {
        Account {
            name: name.into(),
            subject: "42".into(),
            scope: "media:read".into(),
            kind: Kind::User,
            hash,
        }
    }

    #[test]
    fn a_name_goes_with_its_password_alone() {
        let hash = PasswordHash::of(b"correct horse").unwrap();
        let again = PasswordHash::parse(hash.reveal()).unwrap();
        let accounts = Accounts::new([
            account("a", again),
            account("b", PasswordHash::of(b"battery staple").unwrap()),
        ]);
        assert_eq!(&*accounts.check("a", b"correct horse").unwrap().name, "a");
        for (name, password) in [
            ("a", &b"battery staple"[..]),
            ("b", b"correct horse"),
            ("c", b"correct horse"),
            ("A", b"correct horse"),
            ("a", b""),
            ("a", b"correct horse "),
        ] {
            assert!(accounts.check(name, password).is_none(), "{name}");
        }
        assert!(!format!("{accounts:?}").contains("argon2"));
    }

    #[test]
    fn who_is_unknown_costs_as_much_and_is_never_let_in() {
        let hash = PasswordHash::of(b"x").unwrap();
        let params = |hash: &PasswordHash| Params::try_from(&Phc::new(hash.reveal()).unwrap()).unwrap();
        for decoy in [hash.decoy(), Accounts::default().decoy] {
            assert_eq!(params(&decoy).m_cost(), params(&hash).m_cost());
            assert!(PasswordHash::parse(decoy.reveal()).is_ok());
            assert!(!decoy.is_of(b"x") && !decoy.is_of(b""));
        }
        assert!(Accounts::default().check("", b"").is_none());
    }

    #[test]
    fn weak_costly_and_other_hashes_are_refused() {
        let good = PasswordHash::of(b"x").unwrap();
        let good = good.reveal();
        for bad in [
            String::new(),
            "x".into(),
            good.replace("argon2id", "argon2i"),
            good.replace("v=19", "v=16"),
            good.replace("m=19456", "m=1024"),
            good.replace("m=19456", "m=4000000"),
            good.replace("t=2", "t=100"),
            "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234".into(),
        ] {
            assert!(PasswordHash::parse(&bad).is_err(), "{bad}");
        }
        assert!(PasswordHash::of(b"").is_err() && PasswordHash::of(&[b'x'; 1025]).is_err());
    }
}
