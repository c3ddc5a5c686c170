//! Parameters of a form or a query (`application/x-www-form-urlencoded`), read strictly: a name that stands twice, an escape
//! that is none and text that is not UTF-8 refuse the whole.

use zeroize::Zeroizing;

/// The most parameters that are read.
const MAX_PARAMETERS: usize = 32;

/// Parameters, each name once.
pub(super) struct Parameters(Vec<(String, Zeroizing<String>)>);

impl Parameters {
    /// Reads a form; the error is what is wrong.
    pub(super) fn parse(form: &[u8]) -> Result<Self, &'static str> {
        let mut all: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = decoded(&pair[..end])?;
            let value = decoded(pair.get(end + 1..).unwrap_or_default())?;
            if all.iter().any(|(known, _)| *known == *name) {
                return Err("A parameter stands twice.");
            }
            if all.len() == MAX_PARAMETERS {
                return Err("There are more than 32 parameters.");
            }
            all.push((name.to_string(), value));
        }
        Ok(Self(all))
    }

    /// The names of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The parameter `name`; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

fn decoded(text: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
                let (high, low) = (digit(), digit());
                match (high, low) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err("A parameter has an escape that is none."),
                }
            }
            byte => *byte,
        });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "A parameter is not UTF-8.")?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str) -> Option<Vec<(String, String)>> {
        let parameters = Parameters::parse(form.as_bytes()).ok()?;
        let owned = |(name, value): (String, Zeroizing<String>)| (name, value.to_string());
        Some(parameters.0.into_iter().map(owned).collect())
    }

    #[test]
    fn a_form_is_read_in_one_way() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=b+c&d=%C3%A4%2b&e&f="),
            Some(vec![
                pair("a", "b c"),
                pair("d", "ä+"),
                pair("e", ""),
                pair("f", "")
            ])
        );
        assert_eq!(read(""), Some(Vec::new()));
        assert_eq!(read("&&a=1&"), Some(vec![pair("a", "1")]));
        for bad in ["a=1&a=2", "a=1&%61=2", "a=%", "a=%4", "a=%zz", "%ff=1", "a=%c3"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let many: Vec<String> = (0..40).map(|at| format!("p{at}=1")).collect();
        assert_eq!(read(&many.join("&")), None);
    }

    #[test]
    fn an_empty_parameter_is_none() {
        let parameters = Parameters::parse(b"a=&b=1").unwrap();
        assert_eq!((parameters.get("a"), parameters.get("b")), (None, Some("1")));
    }
}
